"""Times one evaluation of a diffusion transformer, its text encoders and the VAE in Latent, diffusers and stable-diffusion.cpp.

    python run_transformers.py FAMILY DIR [--size 512] [--latent target/release/latent] [--peers latent,torch-f32,torch-bf16,sdcpp,latent]

DIR holds the files of `transformer_files.py`. Latent and stable-diffusion.cpp draw one picture of `--steps` steps without guidance, and
report the seconds of each stage themselves; of diffusers the transformer alone is evaluated, and the large text encoder in bf16, since all of
it does not fit beside itself. Each runs in a process of its own, whose highest resident set is the memory. Latent's flags may be added
behind `--`, for example `-- --precision bf16 --low-memory`.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

PROMPT = "a photograph of a red fox in the snow, low winter sun, long shadows, a frozen lake behind"
CONFIGS = {
    "sd35-medium": ("SD3Transformer2DModel", dict(
        sample_size=128, patch_size=2, in_channels=16, num_layers=24, attention_head_dim=64, num_attention_heads=24,
        joint_attention_dim=4096, caption_projection_dim=1536, pooled_projection_dim=2048, out_channels=16, pos_embed_max_size=384,
        dual_attention_layers=list(range(13)), qk_norm="rms_norm")),
    "flux-schnell": ("FluxTransformer2DModel", dict(guidance_embeds=False)),
    "z-image": ("ZImageTransformer2DModel", {}),
    "flux2-klein": ("Flux2Transformer2DModel", dict(
        num_layers=5, num_single_layers=20, num_attention_heads=24, joint_attention_dim=7680, guidance_embeds=False)),
}
PART_FLAGS = {"clip_l": "--clip-l", "clip_g": "--clip-g", "t5": "--t5", "qwen3": "--llm", "vae": "--vae"}


def measured(command, env=None):
    """Runs a command: its output, its seconds and its highest resident set in GB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{command}: {output}")
    return output, time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e9


def latent(args):
    files = [flag for part, name in PART_FLAGS.items() if (file := args.dir / f"{part}.safetensors").exists() for flag in (name, file)]
    command = [args.latent, "txt2img", PROMPT, "-m", args.transformer, *files, "-W", args.size, "-H", args.size, "--steps", args.steps,
               "--cfg-scale", 1, "-t", args.threads, "-o", args.dir / "latent.png", "-v", *args.flags]
    output, _, memory = measured([str(word) for word in command])
    seconds = {name: float(value) for name, value in re.findall(r"^ *(.+?) ([\d.]+) s$", output, re.MULTILINE)}
    return {"text": seconds["encoding text"], "step": seconds["sampling"] / args.steps, "vae": seconds["decoding"], "memory": memory}


def sdcpp(args):
    output, _, memory = measured([args.sdcpp_python, __file__, args.family, str(args.dir), "--inner", "sdcpp", "--size", str(args.size),
                                  "--steps", str(args.steps), "--threads", str(args.threads), "--transformer", str(args.transformer)])
    return {**json.loads(output.splitlines()[-1]), "memory": memory}


def sdcpp_inner(args):
    import ctypes
    import stable_diffusion_cpp as cpp
    lines = []

    @cpp.sd_log_callback
    def listen(_level, line, _data):
        lines.append(line.decode(errors="replace"))

    cpp.sd_set_log_callback(listen, ctypes.c_void_p(0))
    names = {"clip_l": "clip_l_path", "clip_g": "clip_g_path", "t5": "t5xxl_path", "qwen3": "llm_path", "vae": "vae_path"}
    files = {name: str(file) for part, name in names.items() if (file := args.dir / f"{part}.safetensors").exists()}
    model = cpp.StableDiffusion(diffusion_model_path=str(args.transformer), **files, vae_decode_only=True, n_threads=args.threads)
    model.generate_image(PROMPT, width=args.size, height=args.size, sample_method="euler", sample_steps=args.steps, cfg_scale=1.0, seed=1)
    log = "\n".join(lines)

    def last(pattern, unit=1.0):
        found = re.findall(pattern, log)
        return float(found[-1]) * unit if found else None

    step = last(r"sampling completed, taking ([\d.]+)s")
    print(json.dumps({"text": last(r"(?:condition graph|get_learned_condition) completed, taking (?:.*?)(\d+) ?ms", 0.001),
                      "step": step and step / args.steps, "vae": last(r"latent 1 decoded, taking ([\d.]+)s")}))


def torch(args, dtype):
    output, _, memory = measured([sys.executable, __file__, args.family, str(args.dir), "--inner", dtype, "--size", str(args.size),
                                  "--threads", str(args.threads), "--transformer", str(args.transformer)])
    return {**json.loads(output.splitlines()[-1]), "memory": memory}


def torch_inner(args, dtype):
    import tempfile
    import diffusers
    import torch
    torch.set_num_threads(args.threads)
    dtype = {"torch-f32": torch.float32, "torch-bf16": torch.bfloat16}[dtype]
    name, config = CONFIGS[args.family]
    kind = getattr(diffusers, name)
    with tempfile.TemporaryDirectory() as folder:
        with torch.device("meta"):
            kind(**config).save_config(folder)
        model = kind.from_single_file(str(args.transformer), config=folder, torch_dtype=dtype).eval()
    side, text, random = args.size // 8, 512, lambda *shape: torch.randn(shape, dtype=dtype)
    tokens = (side // 2) ** 2
    time_at = torch.tensor([0.5], dtype=dtype)
    if args.family.startswith("sd3"):
        inputs = dict(hidden_states=random(1, 16, side, side), encoder_hidden_states=random(1, 333, 4096),
                      pooled_projections=random(1, 2048), timestep=time_at * 1000)
    elif args.family.startswith("flux2"):
        inputs = dict(hidden_states=random(1, tokens, 128), encoder_hidden_states=random(1, text, 7680), timestep=time_at,
                      img_ids=torch.zeros(1, tokens, 4), txt_ids=torch.zeros(1, text, 4), guidance=None)
    elif args.family.startswith("flux"):
        inputs = dict(hidden_states=random(1, tokens, 64), encoder_hidden_states=random(1, text, 4096), pooled_projections=random(1, 768),
                      timestep=time_at, img_ids=torch.zeros(tokens, 3), txt_ids=torch.zeros(text, 3))
    else:
        inputs = dict(x=[random(16, 1, side, side)], t=time_at, cap_feats=[random(64, 2560)])
    seconds = []
    with torch.no_grad():
        for _ in range(args.runs):
            start = time.perf_counter()
            model(**inputs)
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"text": None, "step": min(seconds), "vae": None}))


def text_inner(args):
    import torch
    import transformers
    from transformer_files import LARGE
    torch.set_num_threads(args.threads)
    part = next(part for part in LARGE if (args.dir / f"{part}.safetensors").exists())
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("meta"):
        model = LARGE[part]()
    # Random weights of the same shapes: the types that a file has beside bf16, torch does not compute in.
    model = model.to_empty(device="cpu").eval()
    tokens = 512 if part == "t5" and "flux" in args.family else 256 if part == "t5" else 64
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.01)
        start = time.perf_counter()
        model(input_ids=torch.ones(1, tokens, dtype=torch.long))
        seconds = time.perf_counter() - start
    print(json.dumps({"text": seconds, "step": None, "vae": None}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family")
    parser.add_argument("dir", type=Path)
    parser.add_argument("--transformer", type=Path, help="in place of DIR/transformer.safetensors")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--runs", type=int, default=2, help="evaluations by diffusers, the fastest of which counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--latent", default="target/release/latent")
    parser.add_argument("--sdcpp-python", default=sys.executable, help="a Python that has stable_diffusion_cpp")
    parser.add_argument("--peers", default="latent,torch-f32,torch-bf16,text-bf16,sdcpp,latent")
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    parser.add_argument("flags", nargs="*", help="flags of Latent, after --")
    args = parser.parse_intermixed_args()
    args.transformer = args.transformer or args.dir / "transformer.safetensors"
    if args.inner == "sdcpp":
        return sdcpp_inner(args)
    if args.inner == "text-bf16":
        return text_inner(args)
    if args.inner:
        return torch_inner(args, args.inner)
    print(f"| {args.family}, {args.size}x{args.size} | text, s | one evaluation, s | decode, s | memory, GB |\n|---|---|---|---|---|")
    for peer in args.peers.split(","):
        result = latent(args) if peer == "latent" else sdcpp(args) if peer == "sdcpp" else torch(args, peer)
        cells = ["-" if result[key] is None else f"{result[key]:.2f}" for key in ("text", "step", "vae", "memory")]
        print(f"| {peer} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
