"""The same pictures with diffusers, to compare with `latent txt2img --compat diffusers --rng cpu`.

    pip install torch diffusers transformers safetensors pillow
    python diffusers_pictures.py FOLDER OUT [--sampler ddim|euler|dpm++2m] [--karras] [--steps 20] [--cfg-scale 7.5]
        [--seed 42] [--size 512] [--latent PROGRAM [--model FILE]] [PROMPT ...]

FOLDER is a diffusers folder. Picture i of the prompts has the seed SEED + i. Prints the time of loading, sampling and
decoding and the peak memory. With --latent, the program draws the same pictures and the largest difference is printed.
"""
import argparse
import os
import resource
import subprocess
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, StableDiffusionPipeline
from PIL import Image

SCHEDULERS = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler, "dpm++2m": DPMSolverMultistepScheduler}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("prompts", nargs="*", default=["a photograph of a red fox in the snow"])
    parser.add_argument("--sampler", choices=SCHEDULERS, default="ddim")
    parser.add_argument("--karras", action="store_true")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg-scale", type=float, default=7.5)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--latent", help="the program to compare with")
    parser.add_argument("--model", help="its checkpoint; without it, the built-in model")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)

    start = time.time()
    pipe = StableDiffusionPipeline.from_pretrained(args.folder, torch_dtype=torch.float32, safety_checker=None)
    options = {"use_karras_sigmas": True} if args.karras else {}
    pipe.scheduler = SCHEDULERS[args.sampler].from_config(pipe.scheduler.config, **options)
    pipe.unet.to(memory_format=torch.channels_last)
    pipe.vae.to(memory_format=torch.channels_last)
    pipe.set_progress_bar_config(disable=True)
    print(f"loading   {time.time() - start:8.2f} s")

    sampling = decoding = 0.0
    for i, prompt in enumerate(args.prompts):
        start = time.time()
        generator = torch.Generator("cpu").manual_seed(args.seed + i)
        latents = pipe(prompt, num_inference_steps=args.steps, guidance_scale=args.cfg_scale, height=args.size,
                       width=args.size, generator=generator, output_type="latent").images
        sampling += time.time() - start
        start = time.time()
        with torch.no_grad():
            pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
        pipe.image_processor.postprocess(pixels)[0].save(os.path.join(args.out, f"diffusers-{i:02d}.png"))
        decoding += time.time() - start
    print(f"sampling  {sampling:8.2f} s\ndecoding  {decoding:8.2f} s")
    print(f"peak      {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MB")
    if args.latent:
        compare(args)


def compare(args):
    worst = differing = total = 0
    start = time.time()
    for i, prompt in enumerate(args.prompts):
        out = os.path.join(args.out, f"latent-{i:02d}.png")
        command = [args.latent, "txt2img", prompt, "-s", str(args.seed + i), "--rng", "cpu", "--compat", "diffusers",
                   "--steps", str(args.steps), "--cfg-scale", str(args.cfg_scale), "--sampler", args.sampler,
                   "--scheduler", "karras" if args.karras else "normal", "-W", str(args.size), "-H", str(args.size),
                   "-o", out] + (["-m", args.model] if args.model else [])
        subprocess.run(command, check=True, capture_output=True)
        ours = np.asarray(Image.open(out).convert("RGB")).astype(int)
        theirs = np.asarray(Image.open(os.path.join(args.out, f"diffusers-{i:02d}.png")).convert("RGB")).astype(int)
        difference = np.abs(ours - theirs)
        worst, differing, total = max(worst, difference.max()), differing + (difference > 0).sum(), total + difference.size
    print(f"latent    {time.time() - start:8.2f} s, peak {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB")
    print(f"largest difference {worst} of 255; {differing} of {total} values differ")


if __name__ == "__main__":
    main()
