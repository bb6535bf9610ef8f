"""Adds the cases of adapters to the reference data, computed with diffusers and transformers (float32, CPU).

  python make_adapters.py TOOLS

TOOLS is the folder with `synth.py`, `layouts.py`, `make_checkpoint.py` and `make_goldens.py`, by which the other cases were
made. Writes `manifests/`, `goldens/adapters.safetensors` and the cases of the group `adapters` in `goldens/index.json`.
"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[1])
import torch
import layouts
import make_checkpoint as mc
import make_goldens as mg
from diffusers import ControlNetUnionModel, T2IAdapter
from layouts import T, wb
from make_goldens import Models, ck, rnd, test_image
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

SEED = 1234
# Of the tiny image encoder.
VISION = dict(width=128, layers=2, heads=2, mlp=256, patch=14, side=56, proj=64)
cases, tensors, manifests = [], {}, {}


def manifest(name, entries):
    entries = sorted(entries, key=lambda e: e["name"])
    manifests[name] = entries
    return entries


def put(case, values, **info):
    shapes = {}
    for key, value in values.items():
        tensors[f"{case}/{key}"] = value.contiguous().clone()
        shapes[key] = list(value.shape)
    cases.append(dict(group="adapters", case=case, file="adapters.safetensors", tensors=shapes, **info))


# ------------------------------------------------------------------ image encoders
def vision_transformers():
    v, o = VISION, []
    e = "vision_model.embeddings."
    o += [T(e + "class_embedding", v["width"]), T(e + "patch_embedding.weight", v["width"], 3, v["patch"], v["patch"])]
    o += [T(e + "position_embedding.weight", (v["side"] // v["patch"]) ** 2 + 1, v["width"])]
    for n in ("pre_layrnorm", "post_layernorm"):
        wb(o, "vision_model." + n, v["width"])
    for i in range(v["layers"]):
        p = f"vision_model.encoder.layers.{i}."
        for n in ("q_proj", "k_proj", "v_proj", "out_proj"):
            wb(o, p + "self_attn." + n, v["width"], v["width"])
        for n in ("layer_norm1", "layer_norm2"):
            wb(o, p + n, v["width"])
        wb(o, p + "mlp.fc1", v["mlp"], v["width"])
        wb(o, p + "mlp.fc2", v["width"], v["mlp"])
    return o + [T("visual_projection.weight", v["proj"], v["width"])]


def vision_open_clip():
    v, o = VISION, []
    o += [T("visual.class_embedding", v["width"]), T("visual.conv1.weight", v["width"], 3, v["patch"], v["patch"])]
    o += [T("visual.positional_embedding", (v["side"] // v["patch"]) ** 2 + 1, v["width"])]
    for n in ("ln_pre", "ln_post"):
        wb(o, "visual." + n, v["width"])
    for i in range(v["layers"]):
        p = f"visual.transformer.resblocks.{i}."
        o += [T(p + "attn.in_proj_weight", 3 * v["width"], v["width"]), T(p + "attn.in_proj_bias", 3 * v["width"])]
        wb(o, p + "attn.out_proj", v["width"], v["width"])
        for n in ("ln_1", "ln_2"):
            wb(o, p + n, v["width"])
        wb(o, p + "mlp.c_fc", v["mlp"], v["width"])
        wb(o, p + "mlp.c_proj", v["width"], v["mlp"])
    return o + [T("visual.proj", v["width"], v["proj"])]


def as_transformers(sd):
    out = {}
    for name, value in sd.items():
        name = name.removeprefix("visual.")
        if name == "proj":
            out["visual_projection.weight"] = value.T
            continue
        for a, b in (("conv1", "embeddings.patch_embedding"), ("class_embedding", "embeddings.class_embedding"),
                     ("positional_embedding", "embeddings.position_embedding.weight"), ("ln_pre", "pre_layrnorm"),
                     ("ln_post", "post_layernorm"), ("transformer.resblocks", "encoder.layers"), ("attn.", "self_attn."),
                     ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("c_fc", "fc1"), ("c_proj", "fc2")):
            name = name.replace(a, b)
        if "in_proj_" in name:
            for part, some in zip("qkv", value.chunk(3)):
                out["vision_model." + name.replace("in_proj_", part + "_proj.")] = some
        else:
            out["vision_model." + name] = value
    return out


def vision(sd):
    v = VISION
    c = CLIPVisionConfig(hidden_size=v["width"], intermediate_size=v["mlp"], num_hidden_layers=v["layers"],
                         num_attention_heads=v["heads"], image_size=v["side"], patch_size=v["patch"],
                         projection_dim=v["proj"], hidden_act="gelu")
    m = CLIPVisionModelWithProjection(c)
    r = m.load_state_dict(sd, strict=False)
    assert not r.unexpected_keys and all("position_ids" in k for k in r.missing_keys), r
    return m.eval()


def image_encoders():
    v = VISION
    for name, entries in (("image-encoder", vision_transformers()), ("image-encoder-openclip", vision_open_clip())):
        sd = mc.state_dict(manifest(name, entries), SEED + 4, mg.WT)
        m = vision(as_transformers(sd) if "openclip" in name else sd)
        x = rnd(SEED + 50, 2, 3, v["side"], v["side"])
        o = m(x, output_hidden_states=True)
        put(name, dict(pixels=x, embedding=o.image_embeds, penultimate=o.hidden_states[-2]), checkpoint=ck("sd15", SEED),
            image_encoder=dict(file=name, seed=SEED + 4), tol=dict(abs=2e-4, rel=1e-4),
            about="pixels are normalised; embedding = image_embeds, penultimate = hidden_states[-2].")


# ------------------------------------------------------------------ IP-Adapters
def cross_attentions(family):
    """Widths of the cross-attentions, in the order of unet.attn_processors."""
    unet = Models(family, SEED).unet
    return [unet.get_submodule(n.removesuffix(".processor")).to_k.out_features
            for n in unet.attn_processors if n.endswith("attn2.processor")]


def ip_adapter(family, kind):
    ctx, v, o = layouts.unet_cfg(family, "tiny")["ctx"], VISION, []
    p = "image_proj."
    if kind == "plain":
        wb(o, p + "proj", 4 * ctx, v["proj"])
        wb(o, p + "norm", ctx)
    elif kind == "full":
        wb(o, p + "proj.0", v["width"], v["width"])
        wb(o, p + "proj.2", ctx, v["width"])
        wb(o, p + "proj.3", ctx)
    else:
        dim = 128
        o.append(T(p + "latents", 1, 16, dim))
        wb(o, p + "proj_in", dim, v["width"])
        wb(o, p + "proj_out", ctx, dim)
        wb(o, p + "norm_out", ctx)
        for i in range(4):
            a, f = f"{p}layers.{i}.0.", f"{p}layers.{i}.1."
            wb(o, a + "norm1", dim)
            wb(o, a + "norm2", dim)
            o += [T(a + "to_q.weight", 192, dim), T(a + "to_kv.weight", 384, dim), T(a + "to_out.weight", dim, 192)]
            wb(o, f + "0", dim)
            o += [T(f + "1.weight", 4 * dim, dim), T(f + "3.weight", dim, 4 * dim)]
    for i, width in enumerate(cross_attentions(family)):
        o += [T(f"ip_adapter.{2 * i + 1}.to_{kv}_ip.weight", width, ctx) for kv in "kv"]
    return o


def ip_adapters():
    for j, (family, kind, scale) in enumerate([("sd15", "plain", 1.0), ("sd15", "plus", 0.6), ("sd15", "full", 0.5),
                                               ("sdxl", "plain", 0.7), ("sdxl", "plus", 1.0)]):
        name = f"ip-adapter-{kind}-{family}"
        sd = mc.state_dict(manifest(name, ip_adapter(family, kind)), SEED + 5, mg.WT)
        part = lambda p: {k.removeprefix(p): t for k, t in sd.items() if k.startswith(p)}
        m, c, n, v = Models(family, SEED), layouts.unet_cfg(family, "tiny"), 2, VISION
        x, ctx, t = rnd(SEED + 60 + j, n, 4, 8, 12), rnd(SEED + 70 + j, n, 77, c["ctx"]), torch.tensor([800.0, 21.0])
        kw, d = {}, dict(x=x, t=t, context=ctx)
        if c["adm"]:
            pooled = rnd(SEED + 80 + j, n, c["adm"] - 256 * 6)
            ids = torch.tensor([[64, 96, 0, 0, 64, 96]] * n, dtype=torch.float32)
            d.update(y=mg.time_ids_y(pooled, ids))
            kw = dict(text_embeds=pooled, time_ids=ids)
        d["out_without"] = m.unet(x, t, encoder_hidden_states=ctx, added_cond_kwargs=kw or None).sample
        # Without accelerate's empty weights, whose order of loading does not matter here.
        m.unet._load_ip_adapter_weights([dict(image_proj=part("image_proj."), ip_adapter=part("ip_adapter."))],
                                        low_cpu_mem_usage=False)
        seen = rnd(SEED + 90 + j, n, v["proj"]) if kind == "plain" else rnd(SEED + 90 + j, n, 17, v["width"])
        for p in m.unet.attn_processors.values():
            if hasattr(p, "scale"):
                p.scale = [scale]
        images = seen[:, None]
        d.update(seen=seen, tokens=m.unet.encoder_hid_proj([images])[0][:, 0])
        d["out"] = m.unet(x, t, encoder_hidden_states=ctx, added_cond_kwargs=dict(image_embeds=[images], **kw)).sample
        put(name, d, checkpoint=ck(family, SEED), ip_adapter=dict(file=name, seed=SEED + 5, scale=scale),
            tol=dict(abs=3e-4, rel=3e-4), out_std=round(float(d["out"].std()), 4),
            about="seen = what the image encoder gives (embedding, or hidden states of the last layer but one); tokens = "
                  "encoder_hid_proj(seen); out = UNet with the adapter at that scale.")


# ------------------------------------------------------------------ networks that see a control image
def condition(family, j, n=2):
    """Latents, times and texts of a batch, and what SDXL takes besides."""
    c = layouts.unet_cfg(family, "tiny")
    x, ctx, t = rnd(SEED + 160 + j, n, 4, 8, 12), rnd(SEED + 170 + j, n, 77, c["ctx"]), torch.tensor([800.0, 21.0])
    if not c["adm"]:
        return dict(x=x, t=t, context=ctx), {}
    pooled = rnd(SEED + 180 + j, n, c["adm"] - 256 * 6)
    ids = torch.tensor([[64, 96, 0, 0, 64, 96]] * n, dtype=torch.float32)
    return dict(x=x, t=t, context=ctx, y=mg.time_ids_y(pooled, ids)), dict(text_embeds=pooled, time_ids=ids)


def hint(seed):
    return test_image(seed, 64, 96)[None].permute(0, 3, 1, 2).float() / 255


def union():
    family, u = "sdxl", layouts.unet_config("sdxl", "tiny")
    first = u["block_out_channels"][0]
    o = [dict(e) for e in layouts.unet_diffusers(layouts.unet_cfg(family, "tiny"), "control_model.", True)]
    o.append(T("task_embedding", 8, first))
    p = "transformer_layes.0."
    o += [T(p + "attn.in_proj_weight", 3 * first, first), T(p + "attn.in_proj_bias", 3 * first)]
    wb(o, p + "attn.out_proj", first, first)
    wb(o, p + "ln_1", first)
    wb(o, p + "ln_2", first)
    wb(o, p + "mlp.c_fc", 4 * first, first)
    wb(o, p + "mlp.c_proj", first, 4 * first)
    wb(o, "spatial_ch_projs", first, first)
    wb(o, "control_add_embedding.linear_1", 4 * first, 8 * 256)
    wb(o, "control_add_embedding.linear_2", 4 * first, 4 * first)
    sd = mc.state_dict(manifest("controlnet-union-sdxl", o), SEED + 6, mg.WT)
    keys = ["down_block_types", "block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim",
            "use_linear_projection", "norm_num_groups", "transformer_layers_per_block", "addition_embed_type",
            "addition_time_embed_dim", "projection_class_embeddings_input_dim"]
    m = mg.build(ControlNetUnionModel, dict(in_channels=4, num_control_type=8, num_trans_channel=first, num_trans_head=8,
                                            num_trans_layer=1, num_proj_channel=first,
                                            conditioning_embedding_out_channels=[16, 32, 96, 256],
                                            **{k: u[k] for k in keys}), sd)
    for j, (number, kind, scale) in enumerate([(1, "depth", 1.0), (6, "tile", 0.7)]):
        d, kw = condition(family, j)
        d["hint"] = hint(SEED + 190 + j)
        # Attention runs along the batch there: with the same latents for both, as under guidance, each sees itself.
        d["x"] = d["x"][:1].repeat(2, 1, 1, 1)
        types = torch.zeros(2, 8)
        types[:, number] = 1
        down, mid = m(d["x"], d["t"], encoder_hidden_states=d["context"], controlnet_cond=[d["hint"].repeat(2, 1, 1, 1)],
                      control_type=types, control_type_idx=[number], conditioning_scale=scale, added_cond_kwargs=kw,
                      return_dict=False)
        d.update({f"down{i}": v for i, v in enumerate(down)}, mid=mid)
        put(f"controlnet-union-sdxl/{kind}", d, checkpoint=ck(family, SEED),
            control=dict(file="controlnet-union-sdxl", seed=SEED + 6, scale=scale, type=kind), tol=dict(abs=3e-4, rel=3e-4),
            about="down*/mid are already multiplied by scale.")


def t2i(kind, family, channels):
    factor = 16 if kind == "full_adapter_xl" else 8
    widths, light = [m * layouts.unet_cfg(family, "tiny")["mc"] for m in channels], kind == "light_adapter"
    o, inputs = [], 3 * factor * factor
    if not light:
        wb(o, "adapter.conv_in", widths[0], inputs, 3, 3)
        inputs = widths[0]
    for i, width in enumerate(widths):
        p, inner = f"adapter.body.{i}.", width // 4 if light else width
        if light or inputs != width:
            wb(o, p + "in_conv", inner, inputs, 1, 1)
        for r in range(2):
            wb(o, p + f"resnets.{r}.block1", inner, inner, 3, 3)
            k = 3 if light else 1
            wb(o, p + f"resnets.{r}.block2", inner, inner, k, k)
        if light:
            wb(o, p + "out_conv", width, inner, 1, 1)
        inputs = width
    return o, widths, factor


def t2i_adapters():
    for j, (kind, family, multiples, scale) in enumerate([
            ("full_adapter", "sd15", [1, 2, 4, 4], 1.0), ("light_adapter", "sd15", [1, 2, 4, 4], 0.8),
            ("full_adapter_xl", "sdxl", [1, 2, 4, 4], 0.6)]):
        name = f"t2i-{kind.replace('_', '-')}-{family}"
        entries, widths, factor = t2i(kind, family, multiples)
        sd = mc.state_dict(manifest(name, entries), SEED + 7, mg.WT)
        # A light adapter has a last block beside those of its channels.
        m = mg.build(T2IAdapter, dict(in_channels=3, channels=widths[:3] if kind == "light_adapter" else widths,
                                      num_res_blocks=2, downscale_factor=factor, adapter_type=kind), sd)
        d, kw = condition(family, 10 + j)
        d["hint"] = hint(SEED + 200 + j)
        features = [f * scale for f in m(d["hint"])]
        d.update({f"feature{i}": f for i, f in enumerate(features)})
        d["out"] = Models(family, SEED).unet(d["x"], d["t"], encoder_hidden_states=d["context"], added_cond_kwargs=kw or None,
                                             down_intrablock_additional_residuals=[f.repeat(2, 1, 1, 1) for f in features]).sample
        put(name, d, checkpoint=ck(family, SEED), control=dict(file=name, seed=SEED + 7, scale=scale),
            tol=dict(abs=3e-4, rel=3e-4), about="features are already multiplied by scale.")


def write():
    for name, entries in manifests.items():
        rows = ",\n".join(json.dumps(e, separators=(",", ":")) for e in entries)
        with open(os.path.join(HERE, "manifests", f"{name}-tiny-single.json"), "w") as f:
            f.write(json.dumps(dict(family=name, scale="tiny", layout="single"))[:-1])
            f.write(f',\n"files": {{\n"{name}.safetensors": [\n{rows}\n]}}}}\n')
    save_file(tensors, os.path.join(HERE, "goldens", "adapters.safetensors"))
    path = os.path.join(HERE, "goldens", "index.json")
    lines = open(path).read().split("\n")
    kept = [s.rstrip(",") for s in lines if s.startswith('{"group"') and not s.startswith('{"group": "adapters"')]
    own = [json.dumps(c, ensure_ascii=False) for c in cases]
    with open(path, "w") as f:
        f.write("\n".join(lines[:2]) + "\n" + ",\n".join(own + kept) + "\n]}\n")


if __name__ == "__main__":
    image_encoders()
    ip_adapters()
    union()
    t2i_adapters()
    write()
