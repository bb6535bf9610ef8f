"""Writes files of the full size of a diffusion transformer, with random weights: what they draw means nothing, what it takes is real.

    python transformer_files.py FAMILY OUT [--transformer f16] [--text f16] [--parts transformer,vae,...]

FAMILY is one of those below. OUT gets a file for each part: `transformer.safetensors` under its original names (those of
`diffusion/tests/reference/transformer_manifests`), and `vae`, `clip_l`, `clip_g`, `t5` or `qwen3` under diffusers' and transformers' names. Types
are f32, f16, bf16 and f8_e4m3; the T5 and the Qwen3 are of the type of `--text`, the small parts f16.
"""
import argparse
import json
import struct
from pathlib import Path

import ml_dtypes
import numpy as np

MANIFESTS = Path(__file__).parents[2] / "diffusion/tests/reference/transformer_manifests"
DTYPES = {"f32": ("F32", np.float32), "f16": ("F16", np.float16), "bf16": ("BF16", ml_dtypes.bfloat16),
          "f8_e4m3": ("F8_E4M3", ml_dtypes.float8_e4m3fn)}
# Random numbers that all tensors are cut from
POOL = 1 << 24


def clip(width, layers, heads, mlp, projection):
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection
    return CLIPTextModelWithProjection(CLIPTextConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=mlp, projection_dim=projection,
        hidden_act="gelu" if width == 1280 else "quick_gelu"))


def t5():
    from transformers import T5Config, T5EncoderModel
    return T5EncoderModel(T5Config(vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64,
                                   feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False))


def qwen3():
    from transformers import Qwen3Config, Qwen3ForCausalLM
    return Qwen3ForCausalLM(Qwen3Config(
        vocab_size=151936, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8,
        head_dim=128, rope_parameters={"rope_type": "default", "rope_theta": 1e6}, tie_word_embeddings=True)).model


def vae(channels=16):
    from diffusers import AutoencoderKL
    return AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=channels, norm_num_groups=32, use_quant_conv=False,
        use_post_quant_conv=False)


def flux2_vae():
    from diffusers import AutoencoderKLFlux2
    return AutoencoderKLFlux2()


SMALL = {"vae": vae, "clip_l": lambda: clip(768, 12, 12, 3072, 768), "clip_g": lambda: clip(1280, 32, 20, 5120, 1280)}
LARGE = {"t5": t5, "qwen3": qwen3}
FAMILIES = {
    "sd35-medium": ("clip_l", "clip_g", "t5", "vae"),
    "sd35-large": ("clip_l", "clip_g", "t5", "vae"),
    "flux-schnell": ("clip_l", "t5", "vae"),
    "flux-dev": ("clip_l", "t5", "vae"),
    "chroma": ("t5", "vae"),
    "z-image": ("qwen3", "vae"),
    "flux2-klein": ("qwen3", "flux2_vae"),
}


def shapes_of_manifest(family):
    manifest = json.loads((MANIFESTS / f"{family}-full-single.json").read_text())
    (tensors,) = manifest["files"].values()
    return {tensor["name"]: tensor["shape"] for tensor in tensors}


def shapes_of_module(make):
    import torch
    with torch.device("meta"):
        module = make()
    # What is shared, such as the embeddings of T5, stands once.
    seen, shapes = set(), {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            shapes[name] = list(tensor.shape)
    return shapes


class Weights:
    """Weights that keep the size of activations about 1, cut from a pool of random numbers; norms that do nothing."""

    def __init__(self, kind):
        self.kind = kind
        self.pool = np.random.default_rng(1).standard_normal(POOL, np.float32)
        self.pools = {}

    def chunks(self, name, shape, offset):
        """The bytes of a tensor, in parts."""
        count = int(np.prod(shape))
        if len(shape) == 1:
            is_bias = name.endswith(("bias", "running_mean"))
            yield np.full(count, 0.0 if is_bias else 1.0, np.float32).astype(self.kind).tobytes()
            return
        fan_in = int(np.prod(shape[1:]))
        if fan_in not in self.pools:
            # A part of what would keep the size: dozens of residual sums come together.
            self.pools[fan_in] = (self.pool * np.float32(0.5 / np.sqrt(fan_in))).astype(self.kind)
        pool = self.pools[fan_in]
        while count > 0:
            part = pool[offset:offset + count]
            yield part.tobytes()
            count -= len(part)
            offset = 0


def write(path, shapes, dtype):
    name, kind = DTYPES[dtype]
    size = np.dtype(kind).itemsize
    header, end = {}, 0
    for tensor, shape in shapes.items():
        start, end = end, end + int(np.prod(shape)) * size
        header[tensor] = {"dtype": name, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    weights = Weights(kind)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for index, (tensor, shape) in enumerate(shapes.items()):
            for chunk in weights.chunks(tensor, shape, index * 9973 % POOL):
                file.write(chunk)
    print(f"{path}: {len(shapes)} tensors, {end / 1e9:.2f} GB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("out", type=Path)
    parser.add_argument("--transformer", choices=DTYPES, default="f16")
    parser.add_argument("--text", choices=DTYPES, default="f16")
    parser.add_argument("--parts", help="of all that the family has, these")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    parts = args.parts.split(",") if args.parts else ("transformer", *FAMILIES[args.family])
    for part in parts:
        if part == "transformer":
            write(args.out / "transformer.safetensors", shapes_of_manifest(args.family), args.transformer)
        elif part in LARGE:
            write(args.out / f"{part}.safetensors", shapes_of_module(LARGE[part]), args.text)
        else:
            make = flux2_vae if part == "flux2_vae" else SMALL[part]
            write(args.out / ("vae.safetensors" if part == "flux2_vae" else f"{part}.safetensors"), shapes_of_module(make), "f16")


if __name__ == "__main__":
    main()
