"""The names of diffusion transformers in original files, written independently of the engine's table.

Used by `make_transformers.py` and `transformer_pipelines.py`.
"""
import inspect
import re

import torch
from diffusers.loaders import single_file_utils as convert


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
