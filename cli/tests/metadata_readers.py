#!/usr/bin/env python3
"""Whether programs for reading pictures understand those of latent.

    python3 -m venv /tmp/readers && /tmp/readers/bin/pip install sd-parsers sd-prompt-reader piexif
    /tmp/readers/bin/python -B cli/tests/metadata_readers.py target/release/latent

Draws a picture in each format with the built-in model and compares what sd-parsers and sd-prompt-reader (PyPI) read with
what was asked for; then lets sd-prompt-reader write the same text as it does, and reads that with `latent metadata`. Prints
a line for each, and fails where one differs.
"""

import importlib.metadata
import json
import pathlib
import subprocess
import sys
import tempfile

from sd_parsers import ParserManager
from sd_prompt_reader.image_data_reader import ImageDataReader

WANT = {
    "prompt": "a red apple, (shiny:1.2)",
    "negative": "blurry, dark",
    "seed": "4294967303",
    "steps": "3",
    "sampler": "Euler a",
    "cfg": "6.5",
    "size": "48x64",
    "model": "demo",
}
KINDS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
FLAGS = ["--steps", "3", "--sampler", "euler_a", "--cfg-scale", "6.5", "-s", WANT["seed"], "-W", "48", "-H", "64"]


def by_sd_parsers(path):
    info = ParserManager().parse(path)
    if info is None:
        return {}
    (sampler,) = info.samplers
    return {
        "prompt": info.full_prompt,
        "negative": info.full_negative_prompt,
        "seed": sampler.parameters["seed"],
        "steps": sampler.parameters["steps"],
        "sampler": sampler.name,
        "cfg": sampler.parameters["cfg_scale"],
        "size": info.metadata["Size"],
        "model": sampler.model.name,
    }


def by_sd_prompt_reader(path):
    data = ImageDataReader(str(path))
    told = dict(data.parameter)
    return {"prompt": data.positive, "negative": data.negative, **told}


def by_latent(latent, path):
    line = [latent, "metadata", path, "--json"]
    told = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)["settings"]
    names = {"negative": "negative_prompt", "cfg": "cfg_scale"}
    told = {key: told.get(names.get(key, key)) for key in WANT} | {"size": f"{told['width']}x{told['height']}"}
    return told


def main():
    latent = pathlib.Path(sys.argv[1]).resolve()
    readers = {"sd-parsers": by_sd_parsers, "sd-prompt-reader": by_sd_prompt_reader}
    failed = []

    def tell(who, ending, told):
        wrong = {key: told.get(key) for key in WANT if str(told.get(key)) != WANT[key]}
        print(f"{who}, .{ending}: {f'wrong: {wrong}' if wrong else 'all right'}")
        failed.extend(wrong)

    with tempfile.TemporaryDirectory() as folder:
        for ending in ["png", "jpg", "webp"]:
            path = pathlib.Path(folder, f"picture.{ending}")
            line = [latent, "txt2img", WANT["prompt"], "-n", WANT["negative"], *FLAGS, "-o", path]
            subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
            for package, read in readers.items():
                tell(f"{package} {importlib.metadata.version(package)}", ending, read(path))
            # The text alone, as the other program writes it.
            other = pathlib.Path(folder, f"other.{ending}")
            text = ImageDataReader(str(path)).raw
            ImageDataReader.save_image(str(path), str(other), KINDS[ending], text)
            tell("latent on sd-prompt-reader's file", ending, by_latent(latent, other))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
