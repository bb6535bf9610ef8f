"""Compares GGUF files with the package gguf (PyPI), which llama.cpp's authors keep.

    pip install gguf safetensors numpy Pillow
    python3 -B diffusion/tests/convert/check_with_gguf.py target/release/latent assets/demo.safetensors

1. Of each type, what `latent convert` writes is opened by gguf; names and shapes are those of the model, and the values that gguf
   reads are, bit for bit, those that `latent convert --type f32` makes of the file.
2. A file that gguf writes in ComfyUI's dialect (a UNet alone, blocks cut out of flattened weights) draws what its values draw.
"""

import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

TYPES = "q8_0 q6_k q5_k q5_1 q5_0 q4_k q4_1 q4_0 iq4_nl iq4_xs q3_k q2_k f16 f32".split()
PREFIX = "model.diffusion_model."


def run(program, *args):
    subprocess.run([program, *map(str, args)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def values(tensor):
    shape = [int(dim) for dim in reversed(tensor.shape)]
    if tensor.tensor_type in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.I64):
        return tensor.data.reshape(shape)
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)


def compare_written(program, model, folder):
    for name in TYPES:
        small, exact = folder / "small.gguf", folder / "exact.safetensors"
        run(program, "convert", model, small, "--type", name, "--force")
        run(program, "convert", small, exact, "--type", "f32", "--force")
        ours = load_file(exact)
        theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(small).tensors}
        assert theirs.keys() == ours.keys(), theirs.keys() ^ ours.keys()
        kinds = {}
        for key, tensor in theirs.items():
            value = values(tensor)
            assert value.shape == ours[key].shape, (key, value.shape, ours[key].shape)
            assert np.array_equal(value.astype(ours[key].dtype).view(np.uint8), ours[key].view(np.uint8)), (name, key)
            kinds[tensor.tensor_type.name] = kinds.get(tensor.tensor_type.name, 0) + 1
        print(f"{name}: {small.stat().st_size / 1e6:.1f} MB, {len(theirs)} tensors: {kinds}")


def pixels(program, folder, *args):
    out = folder / "out.png"
    run(program, "txt2img", "a red apple", "-s", "1", "--steps", "4", "-W", "64", "-H", "64", "-o", out, *args)
    return np.asarray(Image.open(out).convert("RGB")).astype(int)


def compare_read(program, model, folder):
    tensors = load_file(model)
    for name in ["Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"]:
        kind = gguf.GGMLQuantizationType[name]
        path, exact = folder / "unet.gguf", folder / "exact.safetensors"
        writer, dequantized = gguf.GGUFWriter(path, "sd1"), dict(tensors)
        for key, tensor in tensors.items():
            if not key.startswith(PREFIX):
                continue
            below = key.removeprefix(PREFIX)
            if tensor.ndim < 2 or tensor.size % 256:
                writer.add_tensor(below, tensor.astype(np.float32))
                dequantized[key] = tensor.astype(np.float32)
                continue
            rows = tensor.astype(np.float32)
            if rows.shape[-1] % 256:
                rows = rows.reshape(-1, 256)
                writer.add_array(f"comfy.gguf.orig_shape.{below}", tensor.shape)
            blocks = gguf.quants.quantize(rows, kind)
            writer.add_tensor(below, blocks, raw_dtype=kind)
            dequantized[key] = gguf.quants.dequantize(blocks, kind).reshape(tensor.shape)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        save_file(dequantized, exact)
        want = pixels(program, folder, "-m", exact)
        got = pixels(program, folder, "-m", model, "--unet", path)
        print(f"{name} by gguf: largest difference {np.abs(want - got).max()} of 255")
        assert np.abs(want - got).max() <= 1


def main():
    program, model = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        compare_written(program, model, folder)
        compare_read(program, model, folder)


main()
