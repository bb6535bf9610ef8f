"""Times the text encoder, one CFG step of the UNet and the VAE decoder of stable-diffusion.cpp.

    python sdcpp_peer.py CHECKPOINT [--runs 5] [--threads 2]

CHECKPOINT is the single file. The library offers no call of one stage: each run is a picture of one step, 512x512,
guidance 7.5, and the seconds are those in its log (10 ms of precision, 1 ms for the text encoder). It evaluates the two
halves of CFG, and the two prompts, one after the other.
"""
import argparse
import ctypes
import re
import time

import stable_diffusion_cpp
from common import report

# One line of the log for each stage: (stage, pattern, seconds of one unit)
LINES = [
    ("text", re.compile(rb"computing condition graph completed, taking (\d+) ms"), 0.001),
    ("unet", re.compile(rb"sampling completed, taking ([\d.]+)s"), 1.0),
    ("vae", re.compile(rb"latent 1 decoded, taking ([\d.]+)s"), 1.0),
]

# Instruction sets, the largest first, and how the library names them
SETS = [("AVX-512", b" AVX512"), ("AVX2", b" AVX2"), ("AVX", b" AVX"), ("NEON", b" NEON")]


def built_for():
    """The instruction set that the library was compiled for."""
    about = stable_diffusion_cpp.sd_get_system_info()
    return next(([name] for name, word in SETS if word + b" = 1" in about), ["none"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    seen = []

    @stable_diffusion_cpp.sd_log_callback
    def listen(_level, line, _data):
        for stage, pattern, unit in LINES:
            if match := pattern.search(line):
                seen.append((stage, float(match.group(1)) * unit))

    stable_diffusion_cpp.sd_set_log_callback(listen, ctypes.c_void_p(0))
    start = time.perf_counter()
    model = stable_diffusion_cpp.StableDiffusion(model_path=args.checkpoint, vae_decode_only=True,
                                                 n_threads=args.threads, verbose=False)
    load_seconds = time.perf_counter() - start

    stages = {stage: [] for stage, _, _ in LINES}
    for run in range(args.runs + 1):
        seen.clear()
        model.generate_image("a photograph of a red fox in the snow", negative_prompt="blurry", width=512, height=512,
                             sample_method="euler", sample_steps=1, cfg_scale=7.5, seed=1)
        lines = [stage for stage, _ in seen]
        if lines != ["text", "text", "unet", "vae"]:
            raise SystemExit(f"the log of this version of stable-diffusion.cpp is not understood: {lines}")
        if run > 0:
            for stage, runs in stages.items():
                runs.append(sum(seconds for name, seconds in seen if name == stage))
    report(f"stable-diffusion.cpp (Python bindings {stable_diffusion_cpp.__version__})", built_for(), load_seconds, stages)


if __name__ == "__main__":
    main()
