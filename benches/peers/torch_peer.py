"""Times one stage of Stable Diffusion 1.5 with PyTorch and diffusers, in f32 or bf16.

    python torch_peer.py FOLDER text|unet|vae [--runs 5] [--threads 2] [--precision f32|bf16]

FOLDER is a diffusers folder. The UNet and the VAE are in the channels-last format, which is the faster one on a CPU.
"""
import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import diffusers
import torch
import transformers
from common import arguments, report, time_stage

FOLDERS = {"text": "text_encoder", "unet": "unet", "vae": "vae"}


def load(folder, stage, dtype=torch.float32):
    """The module of a stage from a diffusers folder, a function that calls it, and arguments for that."""
    generator = torch.Generator().manual_seed(1)
    options = {"subfolder": FOLDERS[stage], "torch_dtype": dtype}
    if stage == "text":
        path = os.path.join(folder, FOLDERS[stage])
        module = transformers.CLIPTextModel.from_pretrained(path, dtype=dtype)
        return module.eval(), lambda ids: module(ids).last_hidden_state, [torch.arange(1000, 1154).reshape(2, 77)]
    if stage == "unet":
        module = diffusers.UNet2DConditionModel.from_pretrained(folder, **options)
        latents, context = (torch.randn(shape, generator=generator).to(dtype) for shape in ((2, 4, 64, 64), (2, 77, 768)))
        call = lambda latents, time, context: module(latents, time, context, return_dict=False)[0]
        return module.eval(), call, [latents, torch.tensor(500.0), context]
    module = diffusers.AutoencoderKL.from_pretrained(folder, **options)
    return module.eval(), lambda z: module.decode(z, return_dict=False)[0], [torch.randn(1, 4, 64, 64, generator=generator).to(dtype)]


def main():
    args = arguments(__doc__)
    torch.set_num_threads(args.threads)
    start = time.perf_counter()
    module, call, inputs = load(args.model, args.stage, {"f32": torch.float32, "bf16": torch.bfloat16}[args.precision])
    if args.stage != "text":
        module.to(memory_format=torch.channels_last)
        inputs[0] = inputs[0].to(memory_format=torch.channels_last)
    load_seconds = time.perf_counter() - start
    with torch.inference_mode():
        seconds = time_stage(args.stage, lambda: call(*inputs), args.runs)
    name = f"PyTorch {torch.__version__.split('+')[0]}, diffusers {diffusers.__version__}"
    isa = torch.backends.cpu.get_cpu_capability().replace("AVX512", "AVX-512")
    report(name, [isa], load_seconds, {args.stage: seconds})


if __name__ == "__main__":
    main()
