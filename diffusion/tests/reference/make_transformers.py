"""Adds the cases of diffusion transformers to the reference data, computed with diffusers (float32, CPU).

  python make_transformers.py TOOLS [--manifests] [--seed SEED] [--goldens FOLDER]

TOOLS is the folder with `synth.py` and `make_checkpoint.py`, by which the other cases were made. Writes
`transformer_manifests/` (only these with `--manifests`), `goldens/transformers.safetensors`, the cases of the group
`transformer` in `goldens/index.json` and their names in `spec.json`; with another seed and another FOLDER, which has an
`index.json`, the same cases there.

The names of original files are in `transformer_names.py`, independently of the engine's table, and each list of them is converted by the
function of diffusers for such files: it must give exactly the tensors of the model, with their values.
"""
import argparse
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
parser = argparse.ArgumentParser()
parser.add_argument("tools")
parser.add_argument("--manifests", action="store_true")
parser.add_argument("--seed", type=int, default=1234)
parser.add_argument("--goldens", default=os.path.join(HERE, "goldens"))
options = parser.parse_args()
sys.path.insert(0, options.tools)
import numpy as np
import torch
import make_checkpoint as mc
from diffusers import (ChromaTransformer2DModel, Flux2Transformer2DModel, FluxTransformer2DModel, SD3Transformer2DModel,
                       ZImageTransformer2DModel)
from safetensors.torch import save_file
from transformer_names import Chroma, Flux, Flux2, Sd3, ZImage, layouts, swapped

torch.set_grad_enabled(False)
SEED, SCRIPT, FILE = options.seed, "make_transformers.py", "transformers.safetensors"
cases, tensors = [], {}


# ------------------------------------------------------------------ networks
def build(kind, config, device="cpu"):
    with torch.device(device):
        return kind(**config).eval()


SD3 = dict(patch_size=2, in_channels=16, out_channels=16)
TINY_SD3 = dict(SD3, sample_size=16, num_layers=3, attention_head_dim=64, num_attention_heads=2, joint_attention_dim=48,
                caption_projection_dim=128, pooled_projection_dim=40, pos_embed_max_size=12)


def full_sd3(layers, **more):
    return dict(SD3, sample_size=128, num_layers=layers, attention_head_dim=64, num_attention_heads=layers, joint_attention_dim=4096,
                caption_projection_dim=64 * layers, pooled_projection_dim=2048, **more)


FLUX = dict(in_channels=64, num_layers=19, num_single_layers=38, attention_head_dim=128, num_attention_heads=24,
            joint_attention_dim=4096, axes_dims_rope=(16, 56, 56))
TINY_FLUX = dict(in_channels=64, num_layers=2, num_single_layers=2, attention_head_dim=32, num_attention_heads=2,
                 joint_attention_dim=48, axes_dims_rope=(4, 14, 14))
POOLED, TINY_POOLED = dict(pooled_projection_dim=768), dict(pooled_projection_dim=40)
FILL = dict(in_channels=384, out_channels=64, guidance_embeds=True)
TINY_Z_IMAGE = dict(dim=96, n_layers=2, n_refiner_layers=2, n_heads=3, n_kv_heads=3, cap_feat_dim=40, axes_dims=[8, 12, 12])
KLEIN = dict(in_channels=128, num_layers=5, num_single_layers=20, attention_head_dim=128, num_attention_heads=24,
             joint_attention_dim=7680, guidance_embeds=False)
TINY_FLUX2 = dict(in_channels=32, num_layers=2, num_single_layers=2, attention_head_dim=32, num_attention_heads=2,
                  joint_attention_dim=48, axes_dims_rope=(8, 8, 8, 8))

# Model, names, tiny and full configuration.
NETWORKS = {
    "sd3-medium": (SD3Transformer2DModel, Sd3, TINY_SD3, full_sd3(24, pos_embed_max_size=192)),
    "sd35-medium": (SD3Transformer2DModel, Sd3, dict(TINY_SD3, qk_norm="rms_norm", dual_attention_layers=(0, 1), pos_embed_max_size=16),
                    full_sd3(24, qk_norm="rms_norm", dual_attention_layers=tuple(range(13)), pos_embed_max_size=384)),
    "sd35-large": (SD3Transformer2DModel, Sd3, dict(TINY_SD3, qk_norm="rms_norm"),
                   full_sd3(38, qk_norm="rms_norm", pos_embed_max_size=192)),
    "flux-schnell": (FluxTransformer2DModel, Flux, TINY_FLUX | TINY_POOLED, FLUX | POOLED),
    "flux-dev": (FluxTransformer2DModel, Flux, dict(TINY_FLUX | TINY_POOLED, guidance_embeds=True), dict(FLUX | POOLED, guidance_embeds=True)),
    "flux-fill": (FluxTransformer2DModel, Flux, TINY_FLUX | TINY_POOLED | FILL, None),
    "chroma": (ChromaTransformer2DModel, Chroma, dict(TINY_FLUX, approximator_hidden_dim=96, approximator_layers=2), FLUX),
    "z-image": (ZImageTransformer2DModel, ZImage, TINY_Z_IMAGE, {}),
    "flux2-klein": (Flux2Transformer2DModel, Flux2, dict(TINY_FLUX2, guidance_embeds=False), KLEIN),
    "flux2-dev": (Flux2Transformer2DModel, Flux2, dict(TINY_FLUX2, guidance_embeds=True), None),
}


def write_manifests():
    folder = os.path.join(HERE, "transformer_manifests")
    os.makedirs(folder, exist_ok=True)
    for family, (kind, names, *configs) in NETWORKS.items():
        for scale, config in zip(("tiny", "full"), configs):
            if config is None:
                continue
            for layout, entries in zip(("single", "diffusers"), layouts(names, build(kind, config, "meta"))):
                if scale == "full":
                    # Nothing is filled in of these sizes but what the names say.
                    entries = [{key: e[key] for key in ("name", "dtype", "shape")} for e in entries]
                with open(os.path.join(folder, f"{family}-{scale}-{layout}.json"), "w") as f:
                    f.write(json.dumps({"family": family, "scale": scale, "layout": layout})[:-1])
                    rows = ",\n".join(json.dumps(e, separators=(",", ":")) for e in entries)
                    f.write(f',\n"files": {{\n"{family}.safetensors": [\n{rows}\n]}}}}\n')


def load(family):
    """The tiny network, filled by an original file, and by way of the conversion of diffusers."""
    kind, names, config, _ = NETWORKS[family]
    model = build(kind, config)
    single, folder = layouts(names, model)
    state = swapped(folder, mc.state_dict([{k: v for k, v in e.items() if k != "op"} for e in folder], SEED, "F16"))
    converted = names.to_diffusers(mc.state_dict(single, SEED, "F16"), model)
    assert converted.keys() == state.keys(), converted.keys() ^ state.keys()
    for name, value in state.items():
        assert torch.equal(value, converted[name]), name
    model.load_state_dict(state)
    return model


def check_full_names():
    """Original names of the full sizes, converted by diffusers, are those of its model."""
    for family, (kind, names, _, config) in NETWORKS.items():
        if config is None:
            continue
        model = build(kind, config, "meta")
        state = {e["name"]: torch.empty(e["shape"], device="meta") for e in layouts(names, model)[0]}
        converted = names.to_diffusers(state, model)
        expected = {name: value.shape for name, value in model.state_dict().items()}
        assert {name: value.shape for name, value in converted.items()} == expected, family


# ------------------------------------------------------------------ cases
def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(SEED * 1000 + seed).standard_normal(shape).astype(np.float32))


def record(blocks):
    """Hooks that keep what blocks return."""
    kept, hooks = [], []
    for block in blocks:
        hooks.append(block.register_forward_hook(lambda module, args, out: kept.append(out)))
    return kept, hooks


def put(family, case, values, **info):
    shapes = {}
    for key, value in values.items():
        tensors[f"{family}/{case}/{key}"] = value.float().contiguous().clone()
        shapes[key] = list(value.shape)
    print(family, case, "std", round(float(values["out"].std()), 3))
    cases.append(dict(group="transformer", case=f"{family}/{case}", file=FILE, tensors=shapes,
                      checkpoint=dict(family=family, scale="tiny", seed=SEED, dtype="f16"), **info, tol=dict(abs=1e-4, rel=1e-4)))


def sd3():
    for family in ("sd3-medium", "sd35-medium", "sd35-large"):
        model = load(family)
        for case, (n, h, w, tokens, skip) in {"one": (1, 8, 8, 7, None), "two": (2, 4, 12, 5, None),
                                              "skip": (1, 8, 8, 7, [1])}.items():
            if skip and family != "sd35-medium":
                continue
            x, text, pooled = random(1, n, 16, h, w), random(2, n, tokens, 48), random(3, n, 40)
            t = torch.tensor([875.0, 125.0][:n])
            kept, hooks = record(model.transformer_blocks)
            out = model(x, text, pooled, t, skip_layers=skip).sample
            for hook in hooks:
                hook.remove()
            values = dict(x=x, t=t, text=text, pooled=pooled, out=out)
            values |= {f"block{i}": image for i, (_, image) in enumerate(kept)}
            put(family, case, values, **({"skip": skip} if skip else {}))


def packed(x):
    """Latents as Flux.1 sees them: patches of 2x2, channel by channel."""
    n, c, h, w = x.shape
    return x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w // 4, 4 * c)


def unpacked(x, h, w):
    n, _, c = x.shape
    return x.view(n, h // 2, w // 2, c // 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(n, c // 4, h, w)


def ids(rows, columns, number=0.0):
    grid = torch.zeros(rows, columns, 3)
    grid[..., 0], grid[..., 1], grid[..., 2] = number, torch.arange(rows)[:, None], torch.arange(columns)[None]
    return grid.reshape(-1, 3)


def image_first(out, tokens):
    """The hidden states after a block: the image, in single blocks with the text behind it."""
    if isinstance(out, tuple):
        return torch.cat([out[1], out[0]], dim=1)
    return torch.cat([out[:, tokens:], out[:, :tokens]], dim=1)


def flux():
    for family, channels in {"flux-schnell": 16, "flux-dev": 16, "flux-fill": 96}.items():
        model = load(family)
        for case, (n, h, w, tokens, reference) in {"one": (1, 8, 8, 7, None), "two": (2, 4, 12, 5, None),
                                                   "reference": (2, 8, 4, 6, (4, 6))}.items():
            if reference and family != "flux-dev":
                continue
            x, text, pooled = random(11, n, channels, h, w), random(12, n, tokens, 48), random(13, n, 40)
            t = torch.tensor([875.0, 125.0][:n])
            values = dict(x=x, t=t, text=text, pooled=pooled)
            seen, places = packed(x), ids(h // 2, w // 2)
            if reference:
                values["reference0"] = random(14, 1, 16, *reference)
                seen = torch.cat([seen, packed(values["reference0"]).repeat(n, 1, 1)], dim=1)
                places = torch.cat([places, ids(reference[0] // 2, reference[1] // 2, 1.0)])
            guidance = None if family == "flux-schnell" else 3.5
            kept, hooks = record([*model.transformer_blocks, *model.single_transformer_blocks])
            out = model(seen, text, pooled, t / 1000, places, torch.zeros(tokens, 3),
                        None if guidance is None else torch.full((n,), guidance)).sample
            for hook in hooks:
                hook.remove()
            values["out"] = unpacked(out[:, :h * w // 4], h, w)
            double = len(model.transformer_blocks)
            values |= {f"block{i}": image_first(o, tokens) if i >= double else o[1] for i, o in enumerate(kept)}
            put(family, case, values, **({} if guidance is None else {"guidance": guidance}))


def chroma():
    family, model = "chroma", load("chroma")
    for case, (n, h, w, tokens, lengths) in {"one": (1, 8, 8, 7, None), "padded": (2, 4, 12, 9, [9, 4])}.items():
        x, text, t = random(21, n, 16, h, w), random(22, n, tokens, 48), torch.tensor([875.0, 125.0][:n])
        counts = torch.tensor(lengths or [tokens] * n)
        mask = torch.cat([torch.arange(tokens)[None] < counts[:, None], torch.ones(n, h * w // 4, dtype=torch.bool)], dim=1)
        # Tokens of padding see what the others see: what they become is never looked at, and must be a number.
        keys = mask[:, None, None, :]
        processors = [m for m in model.modules() if type(m).__name__ == "FluxAttention"]
        for attention in processors:
            forward = type(attention).forward
            attention.forward = (lambda a, f: lambda *args, attention_mask=None, **kw: f(a, *args, attention_mask=keys, **kw))(attention, forward)
        kept, hooks = record([*model.transformer_blocks, *model.single_transformer_blocks])
        out = model(packed(x), text, t / 1000, ids(h // 2, w // 2), torch.zeros(tokens, 3), mask).sample
        for hook in hooks:
            hook.remove()
        for attention in processors:
            del attention.forward
        values = dict(x=x, t=t, text=text, out=unpacked(out, h, w))
        double = len(model.transformer_blocks)
        values |= {f"block{i}": image_first(o, tokens) if i >= double else o[1] for i, o in enumerate(kept)}
        put(family, case, values, **({"lengths": lengths} if lengths else {}))


def z_image():
    family, model = "z-image", load("z-image")
    for case, (n, h, w, tokens, lengths) in {"one": (1, 8, 8, 7, None), "whole": (2, 8, 16, 32, None),
                                             "padded": (2, 4, 12, 40, [5, 40])}.items():
        x, text, t = random(31, n, 16, h, w), random(32, n, tokens, 40), torch.tensor([875.0, 125.0][:n])
        kept, hooks = record([*model.noise_refiner, *model.layers])
        texts = [states[:count] for states, count in zip(text, lengths or [tokens] * n)]
        out = model([image[:, None] for image in x], (1000 - t) / 1000, texts).sample
        for hook in hooks:
            hook.remove()
        values = dict(x=x, t=t, text=text, out=-torch.stack([image[:, 0] for image in out]))
        # What is behind the padding of a shorter text is nothing in particular.
        if not lengths:
            values |= {f"block{i}": state for i, state in enumerate(kept)}
        put(family, case, values, **({"lengths": lengths} if lengths else {}))


def flux2():
    for family in ("flux2-klein", "flux2-dev"):
        model = load(family)
        for case, (n, h, w, tokens, references) in {"one": (1, 4, 4, 7, []), "two": (2, 3, 5, 6, []),
                                                    "references": (2, 4, 3, 5, [(3, 4), (2, 2)])}.items():
            if references and family != "flux2-klein":
                continue
            x, text, t = random(41, n, 32, h, w), random(42, n, tokens, 48), torch.tensor([875.0, 125.0][:n])
            values, sequence = dict(x=x, t=t, text=text), lambda x: x.flatten(2).transpose(1, 2)
            places = lambda rows, columns, number: torch.cartesian_prod(
                torch.tensor([number]), torch.arange(rows), torch.arange(columns), torch.arange(1))
            seen, at = [sequence(x)], [places(h, w, 0)]
            for i, size in enumerate(references):
                values[f"reference{i}"] = random(43 + i, 1, 32, *size)
                seen.append(sequence(values[f"reference{i}"]).repeat(n, 1, 1))
                at.append(places(*size, 10 * (i + 1)))
            text_at = torch.cartesian_prod(torch.arange(1), torch.arange(1), torch.arange(1), torch.arange(tokens))
            guidance = None if family == "flux2-klein" else 4.0
            kept, hooks = record([*model.transformer_blocks, *model.single_transformer_blocks])
            out = model(torch.cat(seen, dim=1), text, t / 1000, torch.cat(at), text_at,
                        None if guidance is None else torch.full((n,), guidance)).sample
            for hook in hooks:
                hook.remove()
            values["out"] = out[:, :h * w].transpose(1, 2).reshape(n, 32, h, w)
            double = len(model.transformer_blocks)
            values |= {f"block{i}": image_first(o, tokens) if i >= double else o[1] for i, o in enumerate(kept)}
            put(family, case, values, **({} if guidance is None else {"guidance": guidance}))


def write():
    save_file(tensors, os.path.join(options.goldens, FILE))
    path = os.path.join(options.goldens, "index.json")
    lines = open(path).read().split("\n")
    kept = [s.rstrip(",") for s in lines if s.startswith('{"group"') and not s.startswith('{"group": "transformer"')]
    own = [json.dumps(c) for c in cases]
    with open(path, "w") as f:
        f.write("\n".join(lines[:2]) + "\n" + ",\n".join(own + kept) + "\n]}\n")
    spec_path = os.path.join(HERE, "spec.json")
    if SEED == 1234:
        spec = json.load(open(spec_path))
        spec["other_scripts"][SCRIPT] = [f"{c['group']}/{c['case']}" for c in cases]
        with open(spec_path, "w") as f:
            f.write(json.dumps(spec, indent=1) + "\n")


if __name__ == "__main__":
    if SEED == 1234:
        write_manifests()
        check_full_names()
    if not options.manifests:
        for make in (sd3, flux, chroma, z_image, flux2):
            make()
        write()
