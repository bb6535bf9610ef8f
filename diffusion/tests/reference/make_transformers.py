"""Adds the cases of diffusion transformers to the reference data, computed with diffusers (float32, CPU).

  python make_transformers.py TOOLS [--manifests] [--seed SEED] [--goldens FOLDER]

TOOLS is the folder with `synth.py` and `make_checkpoint.py`, by which the other cases were made. Writes
`transformer_manifests/` (only these with `--manifests`), `goldens/transformers.safetensors`, the cases of the group
`transformer` in `goldens/index.json` and their names in `spec.json`; with another seed and another FOLDER, which has an
`index.json`, the same cases there.

The names of original files are written here independently of the engine's table, and each list of them is converted by the
function of diffusers for such files: it must give exactly the tensors of the model, with their values.
"""
import argparse
import inspect
import json
import os
import re
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
from diffusers.loaders import single_file_utils as convert
from safetensors.torch import save_file

torch.set_grad_enabled(False)
SEED, SCRIPT, FILE = options.seed, "make_transformers.py", "transformers.safetensors"
cases, tensors = [], {}


# ------------------------------------------------------------------ names of original files
# A rule is (pattern of diffusers, original name, part of the original or None). A part is (its number, anything), or "swap" for
# two halves in the other order.
def qkv(theirs, ours):
    return [(rf"{theirs[0]}\.(weight|bias)", f"{ours}.{{leaf}}", (0, 3)), (rf"{theirs[1]}\.(weight|bias)", f"{ours}.{{leaf}}", (1, 3)),
            (rf"{theirs[2]}\.(weight|bias)", f"{ours}.{{leaf}}", (2, 3))]


def plain(pairs):
    return [(re.escape(theirs) + r"\.(weight|bias)", ours + ".{leaf}", None) for theirs, ours in pairs]


def norms(pairs):
    return [(re.escape(theirs) + r"\.(weight)", ours + ".scale", None) for theirs, ours in pairs]


OWN = [r"attn\.to_q", r"attn\.to_k", r"attn\.to_v"]
ADDED = [r"attn\.add_q_proj", r"attn\.add_k_proj", r"attn\.add_v_proj"]


def embedders(scope, pairs):
    return [(rf"{scope}\.{theirs}\.linear_{i}\.(\w+)", f"{ours}.{layer}.{{leaf}}", None)
            for theirs, ours in pairs for i, layer in ((1, "in_layer"), (2, "out_layer"))]


TIME = [("timestep_embedder", "time_in"), ("text_embedder", "vector_in"), ("guidance_embedder", "guidance_in")]
FLUX_TOPS = plain([("x_embedder", "img_in"), ("context_embedder", "txt_in"), ("proj_out", "final_layer.linear")]) + [
    (r"norm_out\.linear\.(\w+)", "final_layer.adaLN_modulation.1.{leaf}", "swap")]
FLUX_DOUBLE = qkv(OWN, "img_attn.qkv") + qkv(ADDED, "txt_attn.qkv") + norms([
    ("attn.norm_q", "img_attn.norm.query_norm"), ("attn.norm_k", "img_attn.norm.key_norm"),
    ("attn.norm_added_q", "txt_attn.norm.query_norm"), ("attn.norm_added_k", "txt_attn.norm.key_norm")]) + plain([
        ("attn.to_out.0", "img_attn.proj"), ("attn.to_add_out", "txt_attn.proj")])
FLUX_NORMS = norms([("attn.norm_q", "norm.query_norm"), ("attn.norm_k", "norm.key_norm")])
FLUX_SINGLE = FLUX_NORMS + plain([("proj_out", "linear2")]) + [
    (pattern + r"\.(weight|bias)", "linear1.{leaf}", (i, "rows")) for i, pattern in enumerate([*OWN, "proj_mlp"])]


class Sd3:
    tops = plain([("pos_embed.proj", "x_embedder.proj"), ("context_embedder", "context_embedder"), ("proj_out", "final_layer.linear")]) + [
        (r"pos_embed\.(pos_embed)", "pos_embed", None),
        (r"time_text_embed\.timestep_embedder\.linear_1\.(\w+)", "t_embedder.mlp.0.{leaf}", None),
        (r"time_text_embed\.timestep_embedder\.linear_2\.(\w+)", "t_embedder.mlp.2.{leaf}", None),
        (r"time_text_embed\.text_embedder\.linear_1\.(\w+)", "y_embedder.mlp.0.{leaf}", None),
        (r"time_text_embed\.text_embedder\.linear_2\.(\w+)", "y_embedder.mlp.2.{leaf}", None),
        (r"norm_out\.linear\.(\w+)", "final_layer.adaLN_modulation.1.{leaf}", "swap")]
    blocks = {"transformer_blocks": ("joint_blocks", qkv(OWN, "x_block.attn.qkv") + qkv(ADDED, "context_block.attn.qkv")
              + qkv([p.replace("attn", "attn2") for p in OWN], "x_block.attn2.qkv") + plain([
                  ("norm1.linear", "x_block.adaLN_modulation.1"), ("attn.to_out.0", "x_block.attn.proj"),
                  ("attn2.to_out.0", "x_block.attn2.proj"), ("ff.net.0.proj", "x_block.mlp.fc1"), ("ff.net.2", "x_block.mlp.fc2"),
                  ("attn.norm_q", "x_block.attn.ln_q"), ("attn.norm_k", "x_block.attn.ln_k"),
                  ("attn2.norm_q", "x_block.attn2.ln_q"), ("attn2.norm_k", "x_block.attn2.ln_k"),
                  ("norm1_context.linear", "context_block.adaLN_modulation.1"), ("attn.to_add_out", "context_block.attn.proj"),
                  ("ff_context.net.0.proj", "context_block.mlp.fc1"), ("ff_context.net.2", "context_block.mlp.fc2"),
                  ("attn.norm_added_q", "context_block.attn.ln_q"), ("attn.norm_added_k", "context_block.attn.ln_k")]))}

    @staticmethod
    def part(model, name, part):
        # The last block has no output of the text: scale and shift alone, in the other order.
        last = f"transformer_blocks.{len(model.transformer_blocks) - 1}.norm1_context.linear."
        return "swap" if name.startswith(last) else part

    def to_diffusers(state, model):
        return convert.convert_sd3_transformer_checkpoint_to_diffusers(state)


class Flux:
    tops = FLUX_TOPS + embedders("time_text_embed", TIME)
    blocks = {
        "transformer_blocks": ("double_blocks", FLUX_DOUBLE + plain([
            ("norm1.linear", "img_mod.lin"), ("norm1_context.linear", "txt_mod.lin"), ("ff.net.0.proj", "img_mlp.0"),
            ("ff.net.2", "img_mlp.2"), ("ff_context.net.0.proj", "txt_mlp.0"), ("ff_context.net.2", "txt_mlp.2")])),
        "single_transformer_blocks": ("single_blocks", FLUX_SINGLE + plain([("norm.linear", "modulation.lin")]))}

    def to_diffusers(state, model):
        return sized(convert.convert_flux_transformer_checkpoint_to_diffusers, model)(state)


class Chroma:
    tops = FLUX_TOPS + plain([(f"distilled_guidance_layer.{n}_proj",) * 2 for n in ("in", "out")])
    blocks = Flux.blocks | {
        "distilled_guidance_layer.layers": ("distilled_guidance_layer.layers", plain([("linear_1", "in_layer"), ("linear_2", "out_layer")])),
        "distilled_guidance_layer.norms": ("distilled_guidance_layer.norms", [("(weight)", "scale", None)])}

    def to_diffusers(state, model):
        return sized(convert.convert_chroma_transformer_checkpoint_to_diffusers, model)(state)


class Flux2:
    tops = FLUX_TOPS + embedders("time_guidance_embed", TIME) + plain([
        (f"{n}.linear", f"{n}.lin") for n in ("double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation")])
    blocks = {
        "transformer_blocks": ("double_blocks", FLUX_DOUBLE + plain([
            ("ff.linear_in", "img_mlp.0"), ("ff.linear_out", "img_mlp.2"), ("ff_context.linear_in", "txt_mlp.0"),
            ("ff_context.linear_out", "txt_mlp.2")])),
        "single_transformer_blocks": ("single_blocks", FLUX_NORMS + plain([
            ("attn.to_qkv_mlp_proj", "linear1"), ("attn.to_out", "linear2")]))}

    def to_diffusers(state, model):
        return convert.convert_flux2_transformer_checkpoint_to_diffusers(state)


Z_IMAGE_BLOCK = qkv([p.replace("attn", "attention") for p in OWN], "attention.qkv") + plain([
    ("attention.norm_q", "attention.q_norm"), ("attention.norm_k", "attention.k_norm"), ("attention.to_out.0", "attention.out")]) + [
        (r"((?:attention_norm|ffn_norm|feed_forward|adaLN_modulation).*)", "{leaf}", None)]


class ZImage:
    tops = [(r"all_x_embedder\.2-1\.(\w+)", "x_embedder.{leaf}", None), (r"all_final_layer\.2-1\.(.*)", "final_layer.{leaf}", None),
            (r"((?:t_embedder|cap_embedder)\..*|x_pad_token|cap_pad_token)", "{leaf}", None)]
    blocks = {name: (name, Z_IMAGE_BLOCK) for name in ("layers", "noise_refiner", "context_refiner")}

    def to_diffusers(state, model):
        return convert.convert_z_image_transformer_checkpoint_to_diffusers(state)


def sized(function, model):
    """A conversion that knows one width, for another one."""
    source = inspect.getsource(function)
    assert "inner_dim = 3072" in source
    scope = dict(vars(convert))
    exec(source.replace("inner_dim = 3072", f"inner_dim = {model.inner_dim}"), scope)
    return scope[function.__name__]


def original(names, model, name):
    """The original name of a tensor of diffusers, and the part of it."""
    rules, before, rest = names.tops, "", name
    found = re.fullmatch(r"([\w.]+?)\.(\d+)\.(.*)", name)
    if found and found[1] in names.blocks:
        old, rules = names.blocks[found[1]]
        before, rest = f"{old}.{found[2]}.", found[3]
    for pattern, ours, part in rules:
        match = re.fullmatch(pattern, rest)
        if match:
            return before + ours.format(leaf=match[1]), names.part(model, name, part) if hasattr(names, "part") else part
    raise KeyError(name)


def layouts(names, model):
    """The entries of a manifest: of an original file, and of diffusers with the same values."""
    state = {name: list(value.shape) for name, value in model.state_dict().items()}
    found = {name: original(names, model, name) for name in state}
    parts, rows = {}, {}
    for name, (old, part) in found.items():
        # Parts of a fused tensor in its order, whatever the order of the names.
        parts.setdefault(old, []).append((part[0] if isinstance(part, tuple) else 0, name))
    shapes = {}
    for old, several in parts.items():
        at = 0
        for _, name in sorted(several):
            rows[name] = [at, at + state[name][0]]
            at += state[name][0]
        shapes[old] = [at, *state[several[0][1]][1:]]
    # The rules for norms ask for a name that ends in `.weight`.
    src = {old: old.removesuffix(".scale") + ".weight" if old.endswith(".scale") else old for old in shapes}
    single = [{"name": old, "dtype": "W", "shape": shape, **({} if src[old] == old else {"src": src[old], "src_shape": shape})}
              for old, shape in shapes.items()]
    folder = []
    for name, (old, part) in found.items():
        entry = {"name": name, "dtype": "W", "shape": state[name], "src": src[old], "src_shape": shapes[old]}
        if part == "swap":
            entry["op"] = "swap"
        elif part is not None:
            entry["rows"] = rows[name]
        folder.append(entry)
    by_name = lambda entry: entry["name"]
    return sorted(single, key=by_name), sorted(folder, key=by_name)


def swapped(entries, state):
    for entry in entries:
        if entry.get("op") == "swap":
            state[entry["name"]] = torch.cat(state[entry["name"]].chunk(2)[::-1])
    return state


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
