"""Times one evaluation of SDXL's UNet with PyTorch and diffusers, or with OpenVINO on the CPU.

    python sdxl_peer.py torch [--size 1024] [--runs 3] [--threads 2] [--precision f32|bf16]
    python sdxl_peer.py convert MODEL.xml [--size 1024]
    python sdxl_peer.py openvino MODEL.xml [--size 1024] [--runs 3] [--threads 2] [--precision f32|bf16]

The shapes are those of --config, in diffusers' form; the weights are random, so nothing is downloaded. `convert` writes
the model that OpenVINO reads, with weights in f16. PyTorch takes 11 GB of memory; OpenVINO, which keeps the file's weights
beside those that it computes with, 15 GB, 11 of them anonymous.
"""
import argparse
import json
import os
import time

from common import PRECISIONS, openvino_options

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENS = 77
SIZES = 6  # of the picture, the crop and the target


def shapes(config, size):
    """The latent, the timestep, the text states, the pooled text and the sizes."""
    pooled = config["projection_class_embeddings_input_dim"] - SIZES * config["addition_time_embed_dim"]
    return [[1, config["in_channels"], size // 8, size // 8], [], [1, TOKENS, config["cross_attention_dim"]],
            [1, pooled], [1, SIZES]]


def random_unet(config, dtype):
    """diffusers' module, its weights random and of a size that keeps signals about theirs."""
    import diffusers
    import torch
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel.from_config(config)
    unet = unet.to(dtype).to_empty(device="cpu").eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for name, value in unet.named_parameters():
        if value.dim() > 1:
            value.uniform_(-1, 1, generator=generator).mul_(value[0].numel() ** -0.5)
        else:
            value.fill_(1.0 if name.endswith("weight") else 0.0)
    return unet


def call(unet, latent, time, text, pooled, sizes):
    return unet(latent, time, text, added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes}, return_dict=False)[0]


def torch_inputs(config, size):
    import torch
    generator = torch.Generator().manual_seed(1)
    latent, _, text, pooled, _ = (torch.randn(shape, generator=generator) for shape in shapes(config, size))
    return [latent, torch.tensor(500.0), text, pooled, torch.tensor([[size, size, 0, 0, size, size]], dtype=torch.float32)]


def convert(config, args):
    import openvino
    import torch
    from openvino.frontend.pytorch import patch_model

    class Bare(torch.nn.Module):
        def __init__(self, unet):
            super().__init__()
            self.unet = unet

        def forward(self, *inputs):
            return call(self.unet, *inputs)

    # Linear layers stay in f16 while the model is traced, and are not computed: in f32 twice the memory is needed.
    unet = random_unet(config, torch.float16)
    patch_model.__make_16bit_traceable(unet)
    inputs = torch_inputs(config, args.size)
    with torch.no_grad():
        fixed = [list(value.shape) for value in inputs]
        model = openvino.convert_model(Bare(unet), example_input=tuple(inputs), input=fixed)
    os.makedirs(os.path.dirname(os.path.abspath(args.model)), exist_ok=True)
    openvino.save_model(model, args.model, compress_to_fp16=True)


def load_torch(config, args):
    import diffusers
    import torch
    torch.set_num_threads(args.threads)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.precision]
    unet = random_unet(config, dtype).to(memory_format=torch.channels_last)
    inputs = [value.to(dtype) for value in torch_inputs(config, args.size)]
    inputs[0] = inputs[0].to(memory_format=torch.channels_last)

    def forward():
        with torch.inference_mode():
            return call(unet, *inputs).float().numpy()

    return f"PyTorch {torch.__version__.split('+')[0]}, diffusers {diffusers.__version__}", forward


def load_openvino(config, args):
    import numpy
    import openvino
    options = openvino_options(args.precision, args.threads)
    core = openvino.Core()
    request = core.compile_model(core.read_model(args.model), "CPU", options).create_infer_request()
    random = numpy.random.default_rng(1)
    inputs = [numpy.asarray(random.standard_normal(shape), dtype=numpy.float32) for shape in shapes(config, args.size)]
    inputs[1] = numpy.array(500, numpy.float32)
    inputs[4] = numpy.array([[args.size, args.size, 0, 0, args.size, args.size]], numpy.float32)
    return f"OpenVINO {openvino.__version__.split('-')[0]}", lambda: request.infer(inputs)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=["torch", "convert", "openvino"])
    parser.add_argument("model", nargs="?", help="the .xml file of OpenVINO")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="f32", choices=[name for name in PRECISIONS if name != "int8"])
    parser.add_argument("--config", default=os.path.join(HERE, "sdxl_unet.json"))
    args = parser.parse_args()
    if (args.peer != "torch") != bool(args.model):
        parser.error("MODEL.xml is for convert and openvino, which need it")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with open(args.config, encoding="utf-8") as file:
        config = json.load(file)
    if args.peer == "convert":
        convert(config, args)
        return

    start = time.perf_counter()
    name, forward = (load_torch if args.peer == "torch" else load_openvino)(config, args)
    load_seconds = time.perf_counter() - start
    seconds = []
    for run in range(args.runs + 1):
        start = time.perf_counter()
        result = forward()
        if run > 0:
            seconds.append(time.perf_counter() - start)
        expected = (1, config["out_channels"], args.size // 8, args.size // 8)
        if tuple(result.shape) != expected or not abs(float(result.std())) < 1e3:
            raise SystemExit(f"got {tuple(result.shape)} of deviation {float(result.std())} where {expected} was expected")
    print(json.dumps({"name": name, "load_seconds": load_seconds, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
