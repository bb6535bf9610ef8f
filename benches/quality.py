#!/usr/bin/env python3
"""How far images of a program move by an option: PSNR and SSIM of 50 images of the built-in model.

    quality.py BIN "--precision bf16" "--precision int8" ...

Draws 10 seeds of 5 prompts without and with each option (20 steps, on the CPU, in f32 where the option does not say otherwise), and
prints a line for each: median and worst PSNR in dB, median and worst SSIM (Wang et al., 2004: luma, windows of 8x8). Needs numpy and
Pillow.
"""

import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

PROMPTS = ["a red apple", "a blue door", "a green tree", "a yellow sun over the sea", "a white house"]
SEEDS = 10


def draw(program, option, folder):
    """The images with an option, in the order of prompts and seeds."""
    precision = [] if "--precision" in option else ["--precision", "f32"]
    images = []
    for prompt in PROMPTS:
        command = [program, "txt2img", prompt, "-W", "64", "-H", "64", "-s", "1", "-b", str(SEEDS), "--batch-size", str(SEEDS), "--device", "cpu", *precision]
        subprocess.run([*command, *option, "-o", str(folder / "{seed}.png")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for seed in range(1, SEEDS + 1):
            path = folder / f"{seed}.png"
            images.append(np.asarray(Image.open(path).convert("RGB"), dtype=np.float64))
            path.unlink()
    return images


def psnr(a, b):
    error = np.mean((a - b) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def ssim(a, b):
    """Mean over all windows of 8x8 pixels of the luma."""
    luma = np.array([0.299, 0.587, 0.114])
    windows = [np.lib.stride_tricks.sliding_window_view(image @ luma, (8, 8)).reshape(-1, 64) for image in (a, b)]
    mean = [window.mean(axis=1) for window in windows]
    variance = [window.var(axis=1) for window in windows]
    covariance = (windows[0] * windows[1]).mean(axis=1) - mean[0] * mean[1]
    small = [(0.01 * 255) ** 2, (0.03 * 255) ** 2]
    likeness = (2 * mean[0] * mean[1] + small[0]) * (2 * covariance + small[1])
    return float(np.mean(likeness / ((mean[0] ** 2 + mean[1] ** 2 + small[0]) * (variance[0] + variance[1] + small[1]))))


def main():
    program, options = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        exact = draw(program, [], folder)
        for option in options:
            images = draw(program, option.split(), folder)
            pairs = list(zip(exact, images))
            decibels = [psnr(*pair) for pair in pairs]
            likenesses = [ssim(*pair) for pair in pairs]
            print(f"{option}: PSNR {statistics.median(decibels):.1f} dB, worst {min(decibels):.1f}; SSIM {statistics.median(likenesses):.4f}, worst {min(likenesses):.4f}")


main()
