"""Lets stable-diffusion.cpp draw from the GGUF files that `latent convert` writes, and compares its pictures with Latent's.

    python sdcpp_gguf.py MODEL OUT [--latent target/release/latent] [--types f16,q8_0,...] [--steps 2] [--size 256] [--keep]

MODEL is a single file of Stable Diffusion 1.x. Each type is converted to OUT/TYPE.gguf, opened by the peer, and drawn from by both: the
same prompt, seed, random numbers (`--rng cuda` is the default of both), Euler's method and guidance. The script fails where the peer
reports an error or a tensor that it lacks or does not know, or draws a picture of one colour. Without --keep, a file is removed when it
was compared.
"""
import argparse
import ctypes
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import stable_diffusion_cpp
from PIL import Image

TYPES = "f32,f16,bf16,q8_0,q6_k,q5_k,q5_1,q5_0,q4_k,q4_1,q4_0,iq4_nl,iq4_xs,q3_k,q2_k"
PROMPT, NEGATIVE = "a photograph of a red fox in the snow", "blurry"
# What the log says of a file that is not all that the peer needs
BAD = re.compile(rb"not in model file|unknown tensor|wrong shape|size mismatch|failed", re.IGNORECASE)
ERROR = 3


def log_lines():
    """The lines of the peer's log, from now on: (level, text)."""
    lines = []

    @stable_diffusion_cpp.sd_log_callback
    def listen(level, line, _data):
        lines.append((level, line.strip()))

    stable_diffusion_cpp.sd_set_log_callback(listen, ctypes.c_void_p(0))
    return lines, listen


def draw_with_peer(model, args, lines):
    lines.clear()
    start = time.perf_counter()
    peer = stable_diffusion_cpp.StableDiffusion(model_path=str(model), vae_decode_only=True, n_threads=args.threads, verbose=False)
    image = peer.generate_image(PROMPT, negative_prompt=NEGATIVE, width=args.size, height=args.size, sample_method="euler",
                                scheduler="discrete", sample_steps=args.steps, cfg_scale=7.5, seed=args.seed)[0]
    complaints = [line.decode(errors="replace") for level, line in lines if level >= ERROR or BAD.search(line)]
    return np.asarray(image.convert("RGB")).astype(int), time.perf_counter() - start, complaints


def draw_with_latent(model, args, out):
    command = [args.latent, "txt2img", PROMPT, "-n", NEGATIVE, "-m", str(model), "-s", str(args.seed), "--rng", "cuda", "--sampler", "euler",
               "--scheduler", "normal", "--steps", str(args.steps), "--cfg-scale", "7.5", "-W", str(args.size), "-H", str(args.size),
               "-t", str(args.threads), "-o", str(out)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return np.asarray(Image.open(out).convert("RGB")).astype(int), time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--latent", default="target/release/latent")
    parser.add_argument("--types", default=TYPES)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    lines, _listener = log_lines()

    bad = 0
    print("| type | file | mean difference of 255 | largest | deviation of the picture | peer | Latent |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for kind in args.types.split(","):
        model = args.out / f"{kind}.gguf"
        if not model.exists():
            subprocess.run([args.latent, "convert", "--type", kind, args.model, str(model)], check=True, capture_output=True)
        theirs, peer_seconds, complaints = draw_with_peer(model, args, lines)
        Image.fromarray(theirs.astype(np.uint8)).save(args.out / f"{kind}-peer.png")
        ours, seconds = draw_with_latent(model, args, args.out / f"{kind}-latent.png")
        difference = np.abs(ours - theirs)
        print(f"| `{kind}` | {model.stat().st_size / 1e9:.2f} GB | {difference.mean():.3f} | {difference.max()} | {theirs.std():.1f} "
              f"| {peer_seconds:.1f} s | {seconds:.1f} s |", flush=True)
        if complaints or theirs.std() == 0:
            bad += 1
            print(f"{kind}: {json.dumps(complaints[:8])}", file=sys.stderr)
        if not args.keep:
            model.unlink()
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
