"""Trained upscalers in Latent and in PyTorch on the same image.

    python benches/peers/upscale.py LATENT FOLDER --size 512

FOLDER has `realesr-animevideov3.safetensors` (SRVGGNetCompact) and `realesrgan-x4plus-anime.safetensors` (RRDBNet). The networks in
f32, PyTorch's channels-last and after a warm-up, Latent's as the command reports it; beside them the whole command, from the start of
the process to the PNG. Medians, with the two in turn, and the largest difference of the two images.
"""

import argparse
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file


def convolve(weights, name, x):
    return F.conv2d(x, weights[name + ".weight"], weights[name + ".bias"], padding=1)


def compact(weights, x):
    """Real-ESRGAN's SRVGGNetCompact."""
    last = max(int(name.split(".")[1]) for name in weights)
    y = x
    for layer in range(last + 1):
        name = f"body.{layer}"
        if name + ".bias" in weights:
            y = convolve(weights, name, y)
        else:
            y = F.prelu(y, weights[name + ".weight"])
    return F.pixel_shuffle(y, 4) + F.interpolate(x, scale_factor=4, mode="nearest")


def rrdb(weights, x):
    """ESRGAN's RRDBNet."""

    def dense(name, x):
        features = [x]
        for layer in range(1, 6):
            y = convolve(weights, f"{name}.conv{layer}", torch.cat(features, 1))
            features.append(F.leaky_relu(y, 0.2))
        return x + 0.2 * y

    first = y = convolve(weights, "conv_first", x)
    blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("body."))
    for block in range(blocks):
        inner = y
        for part in (1, 2, 3):
            inner = dense(f"body.{block}.rdb{part}", inner)
        y = y + 0.2 * inner
    y = first + convolve(weights, "conv_body", y)
    for name in ("conv_up1", "conv_up2"):
        y = F.leaky_relu(convolve(weights, name, F.interpolate(y, scale_factor=2, mode="nearest")), 0.2)
    return convolve(weights, "conv_last", F.leaky_relu(convolve(weights, "conv_hr", y), 0.2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("latent")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    # Smooth, with some detail.
    y, x = np.mgrid[: args.size, : args.size] / args.size
    waves = np.stack([np.sin(40 * x * y), np.cos(30 * x - 9 * y), np.sin(70 * (x - y) ** 2)], -1)
    pixels = np.rint((waves + 1) * 127.5).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        image, out = Path(folder) / "in.png", Path(folder) / "out.png"
        Image.fromarray(pixels).save(image)
        for name, network in (("realesr-animevideov3", compact), ("realesrgan-x4plus-anime", rrdb)):
            model = args.folder / (name + ".safetensors")
            weights = {k: v.float() for k, v in load_file(model).items()}
            weights = {k: v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v for k, v in weights.items()}
            given = torch.from_numpy(pixels).float().div(255).permute(2, 0, 1)[None]
            given = given.contiguous(memory_format=torch.channels_last)
            network(weights, given[:, :, :64, :64])
            command, ours, theirs = [], [], []
            for _ in range(args.runs):
                start = time.perf_counter()
                arguments = [args.latent, "upscale", image, "--upscale-model", model, "-o", out, "-v"]
                printed = subprocess.run(arguments, check=True, capture_output=True, text=True)
                command.append(time.perf_counter() - start)
                ours.append(float(re.search(r"upscaling ([0-9.]+) s", printed.stdout + printed.stderr)[1]))
                start = time.perf_counter()
                result = network(weights, given)
                theirs.append(time.perf_counter() - start)
            expected = result[0].permute(1, 2, 0).clamp(0, 1).mul(255).round().byte().numpy()
            difference = np.abs(np.asarray(Image.open(out)).astype(int) - expected).max()
            command, ours, theirs = map(statistics.median, (command, ours, theirs))
            print(
                f"{name}: Latent {ours:.2f} s, PyTorch {theirs:.2f} s, ratio {theirs / ours:.2f}; "
                f"whole command {command:.2f} s; difference {difference} of 255"
            )


main()
