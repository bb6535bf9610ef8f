"""Opens what `latent convert` writes with diffusers, and draws with it.

    pip install torch diffusers transformers safetensors accelerate
    python3 -B check_with_diffusers.py LATENT MODEL...

LATENT is the program, each MODEL a single file. Of each, in f32, f16 and bf16:

- The folder opens as a pipeline, with no missing and no surplus tensor, and every parameter that diffusers has is, bit for
  bit, the one in the file.
- The single file that is made of that folder opens too, with the folder's configurations, and has the same parameters.
- A folder made of weights of q8_0 holds numbers within half a step of their block's scale.
- In f32, diffusers' picture from the folder and Latent's from the model differ by at most 2 of 255.

Nothing is downloaded. Exit status 1: something differs.
"""

import os
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, __version__ as diffusers_version
from PIL import Image
from safetensors.torch import load_file
from transformers import __version__ as transformers_version

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model", "text_encoder_2": "model"}
PROMPT, SEED, STEPS, SCALE = "a red apple", 7, 10, 5.0
# Pictures are compared, not looked at.
SIDE = 128
LARGEST_DIFFERENCE = 2

failed = False


def check(what, is_right, told=""):
    global failed
    failed |= not is_right
    print(f"{'ok  ' if is_right else 'FAIL'} {what} {told}".rstrip(), flush=True)


def latent(*args):
    result = subprocess.run([LATENT, *args], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"latent {' '.join(args)}: {result.stderr}")


def parts(folder):
    return [part for part in WEIGHTS if os.path.isdir(f"{folder}/{part}")]


def canonical(state):
    """Names with and without `text_model.`, which versions of transformers differ in, are the same."""
    return {name.removeprefix("text_model."): tensor for name, tensor in state.items()}


def of_file(folder, part):
    return canonical(load_file(f"{folder}/{part}/{WEIGHTS[part]}.safetensors"))


def of_pipeline(pipe, part):
    # What follows from constants is in no file.
    state = canonical(getattr(pipe, part).state_dict())
    return {name: tensor for name, tensor in state.items() if not name.endswith("position_ids")}


def differing(a, b):
    """Names of tensors that are in one alone, or differ in format, shape or any bit."""
    names = set(a) ^ set(b)
    same = lambda x, y: x.dtype == y.dtype and x.shape == y.shape and torch.equal(x, y)
    return sorted(names | {name for name in set(a) & set(b) if not same(a[name], b[name])})


def compare(what, found, expected):
    bad = differing(found, expected)
    check(f"{what}: {len(expected)} tensors", not bad, f"differ: {bad[:3]} and others, {len(bad)}" if bad else "")


def open_both(model, numbers, room):
    folder, single = f"{room}/{numbers}", f"{room}/{numbers}.safetensors"
    latent("convert", model, folder, "--dtype", numbers)
    latent("convert", folder, single)
    dtype = DTYPES[numbers]
    pipe, told = DiffusionPipeline.from_pretrained(folder, torch_dtype=dtype, local_files_only=True), None
    for part in parts(folder):
        compare(f"{numbers} folder, {part}", of_pipeline(pipe, part), of_file(folder, part))
    from_file = type(pipe).from_single_file(single, config=folder, torch_dtype=dtype, local_files_only=True)
    for part in parts(folder):
        compare(f"{numbers} single file, {part}", of_pipeline(from_file, part), of_pipeline(pipe, part))
    return pipe


def check_q8_0(model, room):
    latent("convert", model, f"{room}/blocks.safetensors", "--dtype", "q8_0")
    latent("convert", f"{room}/blocks.safetensors", f"{room}/from-blocks", "--dtype", "f32")
    folder = f"{room}/from-blocks"
    DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    for part in parts(folder):
        exact, found = of_file(f"{room}/f32", part), of_file(folder, part)
        worst = 0.0
        for name, weight in exact.items():
            loss = (found[name] - weight).abs()
            if weight.dim() < 2 or weight[0].numel() % 32 or name.startswith("text_projection"):
                worst = max(worst, loss.max().item() * 1e9)
                continue
            # A scale is rounded to 16 bits, and so may be up to 2^-11 of itself larger than a 127th of the largest value.
            blocks = weight.reshape(-1, 32).abs().amax(1, keepdim=True) / 127 * (1 + 2**-10) + 2**-24
            worst = max(worst, (loss.reshape(-1, 32) / blocks).max().item())
        check(f"q8_0 opened as f32, {part}: no value is off by more than half a step", worst <= 0.5, f"({worst:.3f})")


def check_picture(pipe, model, room):
    side = min(pipe.unet.config.sample_size * pipe.vae_scale_factor, SIDE)
    # SDXL's configuration is of another sampler, and says nothing of these.
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False, set_alpha_to_one=False)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(SEED)
    size = {"width": side, "height": side, "num_inference_steps": STEPS, "guidance_scale": SCALE}
    theirs = pipe(PROMPT, generator=generator, output_type="np", **size).images[0]
    theirs = (theirs * 255).round().astype(int)
    flags = ["--compat", "diffusers", "--rng", "cpu", "--sampler", "ddim", "--device", "cpu", "-s", str(SEED)]
    flags += ["--steps", str(STEPS), "--cfg-scale", str(SCALE), "-W", str(side), "-H", str(side)]
    latent("txt2img", PROMPT, "-m", model, "-o", f"{room}/ours.png", *flags)
    ours = numpy.asarray(Image.open(f"{room}/ours.png").convert("RGB")).astype(int)
    largest = abs(ours - theirs).max()
    spread = theirs.max() - theirs.min()
    check(f"picture of {side}x{side}", largest <= LARGEST_DIFFERENCE and spread > 20, f"(differs by at most {largest} of 255)")


if len(sys.argv) < 3:
    sys.exit(__doc__)
LATENT, MODELS = os.path.abspath(sys.argv[1]), sys.argv[2:]
print(f"torch {torch.__version__}, diffusers {diffusers_version}, transformers {transformers_version}")
with torch.no_grad():
    for model in MODELS:
        print(model)
        with tempfile.TemporaryDirectory() as room:
            exact = [open_both(model, numbers, room) for numbers in DTYPES][0]
            check_q8_0(model, room)
            check_picture(exact, model, room)
sys.exit(failed)
