"""Adds the cases of Control-LoRAs and ControlNet-LLLites to the reference data (float32, CPU).

  python light_controls.py TOOLS

TOOLS as for `make_adapters.py`. A Control-LoRA is merged here in float64 and loaded into the ControlNet of diffusers. A
ControlNet-LLLite, which diffusers does not have, is a module of this file, hooked into the UNet of diffusers before its layers.
Writes `manifests/`, `goldens/light_controls.safetensors` and the cases of the group `adapters/light`, and two of `pipelines`, in
`goldens/index.json`.
"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import make_adapters as ma
import torch
import torch.nn.functional as F
import layouts
import make_checkpoint as mc
import make_goldens as mg
from diffusers import ControlNetModel
from layouts import T, wb
from make_goldens import Models, ck
from safetensors.torch import save_file

GROUP, FILE, SEED = "adapters/light", "light_controls.safetensors", ma.SEED
ENCODER = ("time_embed.", "label_emb.", "input_blocks.", "middle_block.")
UNET = "model.diffusion_model."
cases, tensors, manifests = [], {}, {}


def put(case, values, group=GROUP, tol=dict(abs=3e-4, rel=1e-4), **info):
    shapes = {}
    for key, value in values.items():
        tensors[f"{case}/{key}"] = value.detach().contiguous().clone()
        shapes[key] = list(value.shape)
    cases.append(dict(group=group, case=case, file=FILE, tensors=shapes, tol=tol, **info))


def manifest(name, entries):
    manifests[name] = sorted(entries, key=lambda e: e["name"])
    return manifests[name]


# ------------------------------------------------------------------ Control-LoRA
def numel(shape):
    n = 1
    for d in shape:
        n *= d
    return n


def control_lora(family, rank, is_flat):
    """Factors of every matrix and filter of the encoder, norms and biases as they are, and what only a ControlNet has."""
    c, o = layouts.unet_cfg(family, "tiny"), [T("lora_controlnet", 0)]
    for e in layouts.unet_original(c, "", True):
        name, shape = e["name"], e["shape"]
        is_own = not name.startswith(ENCODER)
        if is_own or len(shape) < 2:
            o.append(T(name, *shape))
            continue
        layer, r = name.removesuffix(".weight"), min(rank, shape[0], shape[1])
        down = [r, numel(shape[1:])] if is_flat or len(shape) == 2 else [r, *shape[1:]]
        up = [shape[0], r] if is_flat or len(shape) == 2 else [shape[0], r, 1, 1]
        # A quarter of the weights' own size: a sum of two networks' weights would have attentions too sharp to compare.
        small = lambda end, shape: T(layer + end, *shape, src=layer.replace(".", "_") + ".lora_up" + end, src_shape=shape)
        o += [small(".up", up), small(".down", down)]
    return o


def merged(family, sd):
    """The ControlNet's weights by the names of diffusers: base + up down, in float64."""
    base = mc.state_dict(layouts.unet_original(layouts.unet_cfg(family, "tiny")), SEED, mg.WT)
    out = {}
    for name, value in base.items():
        name = name.removeprefix(UNET)
        if name.startswith(ENCODER):
            layer = name.removesuffix(".weight")
            if layer + ".up" in sd:
                up, down = (sd[layer + end].double().flatten(1) for end in (".up", ".down"))
                value = (value.double() + (up @ down).reshape(value.shape)).float()
            out[name] = value
    out.update({n: v for n, v in sd.items() if not n.endswith((".up", ".down")) and n != "lora_controlnet"})
    return {layouts.unet_name_to_diffusers(n): v for n, v in out.items()}


def control_net(family, sd):
    u = layouts.unet_config(family, "tiny")
    keys = ["down_block_types", "block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim",
            "use_linear_projection", "norm_num_groups", "transformer_layers_per_block", "addition_embed_type",
            "addition_time_embed_dim", "projection_class_embeddings_input_dim"]
    m = ControlNetModel(in_channels=4, conditioning_embedding_out_channels=[16, 32, 96, 256],
                        **{k: u[k] for k in keys if k in u})
    shapes = {k: v.shape for k, v in m.state_dict().items()}
    # A 1x1 convolution of the original is a linear layer where the model has one.
    m.load_state_dict({k: v.reshape(shapes[k]) for k, v in sd.items()})
    return m.eval()


def control_loras():
    for j, (family, rank, is_flat, scale) in enumerate([("sd15", 4, True, 0.8), ("sdxl", 16, False, 1.0)]):
        name = f"control-lora-{family}"
        sd = mc.state_dict(manifest(name, control_lora(family, rank, is_flat)), SEED + 8, mg.WT)
        m = control_net(family, merged(family, sd))
        d, kw = ma.condition(family, 20 + j)
        d["hint"] = ma.hint(SEED + 210 + j)
        down, mid = m(d["x"], d["t"], encoder_hidden_states=d["context"], controlnet_cond=d["hint"].repeat(2, 1, 1, 1),
                      conditioning_scale=scale, added_cond_kwargs=kw or None, return_dict=False)
        d.update({f"down{i}": v for i, v in enumerate(down)}, mid=mid)
        put(name, d, checkpoint=ck(family, SEED), control=dict(file=name, seed=SEED + 8, scale=scale),
            about="down*/mid are already multiplied by scale.")


# ------------------------------------------------------------------ ControlNet-LLLite
PROJECTIONS = ("attn1_to_q", "attn1_to_k", "attn1_to_v", "attn2_to_q")
# Blocks of the original and the `depth` that kohya's trainer gives their modules.
BLOCKS = {
    "sd15": [("input_blocks_1_1", 0, 1), ("input_blocks_5_1", 0, 2), ("input_blocks_8_1", 0, 3), ("middle_block_1", 0, 3),
             ("output_blocks_5_1", 0, 3), ("output_blocks_11_1", 0, 1)],
    "sdxl": [("input_blocks_4_1", 0, 2), ("input_blocks_5_1", 0, 2), ("input_blocks_8_1", 0, 3), ("middle_block_1", 1, 3),
             ("output_blocks_2_1", 1, 3), ("output_blocks_5_1", 0, 2)],
}
EMBEDDING, WIDTH = 8, 12


def module_of(unet, block, index):
    """The transformer block in diffusers."""
    kind, *numbers = block.replace("_blocks", "").replace("_block", "").split("_")
    if kind == "middle":
        return unet.mid_block.attentions[0].transformer_blocks[index]
    number = int(numbers[0])
    side, number = (unet.down_blocks, number - 1) if kind == "input" else (unet.up_blocks, number)
    return side[number // 3].attentions[number % 3].transformer_blocks[index]


def lllite(family):
    unet, o = Models(family, SEED).unet, []
    for block, index, depth in BLOCKS[family]:
        target = module_of(unet, block, index)
        for projection in PROJECTIONS:
            attention, layer = projection.split("_", 1)
            inputs = getattr(getattr(target, attention), layer).in_features
            p, half = f"lllite_unet_{block}_transformer_blocks_{index}_{projection}.", EMBEDDING // 2
            kernels = {1: [4, 2], 2: [4, 4], 3: [4, 4, 2]}[depth]
            widths = [3] + [half] * (len(kernels) - 1) + [EMBEDDING]
            for i, k in enumerate(kernels):
                wb(o, f"{p}conditioning1.{2 * i}", widths[i + 1], widths[i], k, k)
            wb(o, p + "down.0", WIDTH, inputs)
            wb(o, p + "mid.0", WIDTH, WIDTH + EMBEDDING)
            wb(o, p + "up.0", inputs, WIDTH)
    return o


class Module:
    """Adds to the input of one layer."""

    def __init__(self, sd, prefix, image, scale, grid):
        get = lambda name: (sd[f"{prefix}.{name}.weight"], sd[f"{prefix}.{name}.bias"])
        seen = image * 2 - 1
        for i in range(0, 6, 2):
            if f"{prefix}.conditioning1.{i}.weight" in sd:
                weight, bias = get(f"conditioning1.{i}")
                seen = F.conv2d(F.relu(seen) if i else seen, weight, bias, stride=weight.shape[-1])
        if list(seen.shape[2:]) != grid:
            seen = F.interpolate(seen, grid, mode="nearest-exact")
        self.seen, self.scale = seen.flatten(2).transpose(1, 2), scale
        self.down, self.mid, self.up = get("down.0"), get("mid.0"), get("up.0")

    def __call__(self, layer, args):
        x = args[0]
        hidden = torch.cat([self.seen.expand(x.shape[0], -1, -1), F.relu(F.linear(x, *self.down))], dim=2)
        return (x + F.linear(F.relu(F.linear(hidden, *self.mid)), *self.up) * self.scale, *args[1:])


def level_of(family, block):
    kind, *numbers = block.replace("_blocks", "").replace("_block", "").split("_")
    last = len(layouts.unet_config(family, "tiny")["block_out_channels"]) - 1
    if kind == "middle":
        return last
    return (int(numbers[0]) - 1) // 3 if kind == "input" else last - int(numbers[0]) // 3


def hook(unet, family, sd, image, scale, latents):
    for block, index, _ in BLOCKS[family]:
        grid = list(latents)
        for _ in range(level_of(family, block)):
            grid = [(side + 1) // 2 for side in grid]
        for projection in PROJECTIONS:
            attention, layer = projection.split("_", 1)
            target = getattr(getattr(module_of(unet, block, index), attention), layer)
            prefix = f"lllite_unet_{block}_transformer_blocks_{index}_{projection}"
            target.register_forward_pre_hook(Module(sd, prefix, image, scale, grid))


def lllites():
    for j, (family, scale) in enumerate([("sd15", 1.0), ("sdxl", 0.7)]):
        name = f"lllite-{family}"
        sd = mc.state_dict(manifest(name, lllite(family)), SEED + 9, mg.WT)
        unet = Models(family, SEED).unet
        d, kw = ma.condition(family, 30 + j)
        d["hint"] = ma.hint(SEED + 220 + j)
        predict = lambda: unet(d["x"], d["t"], encoder_hidden_states=d["context"], added_cond_kwargs=kw or None).sample
        without = predict()
        hook(unet, family, sd, d["hint"], scale, d["x"].shape[2:])
        d["out"] = predict()
        apart = float((d["out"] - without).norm() / without.norm())
        assert apart > 0.05, apart
        put(name, d, checkpoint=ck(family, SEED), control=dict(file=name, seed=SEED + 9, scale=scale),
            apart=round(apart, 4), about="out = UNet with the modules at that scale; apart from the one without by `apart` (L2).")


# ------------------------------------------------------------------ whole pipelines
class Book:
    """Takes what `make_goldens.py` gives of a pipeline."""

    def __init__(self, control, image):
        self.control, self.image = control, image

    def put(self, group, case, values, **info):
        info["params"].update(kind="control", image_seed=self.image, controlnet_conditioning_scale=self.control["scale"])
        values["image_u8"] = ma.test_image(self.image, *info["params"]["size"])
        put(case, values, group=group, **{**info, "control": self.control})


def pipelines():
    common = dict(scheduler="ddim", steps=4, guidance=6.0, prompts=["a stone bridge"], negative="", size=[64, 64])
    build, models = mg.build, mg.Models
    family, name, scale = "sd15", "control-lora-sd15", 0.8
    net = control_net(family, merged(family, mc.state_dict(manifests[name], SEED + 8, mg.WT)))
    mg.build = lambda cls, cfg, sd: net if cls is ControlNetModel else build(cls, cfg, sd)
    case = dict(id="sd15-control-lora", family=family, kind="control", seed=19, image_seed=29,
                controlnet_conditioning_scale=scale, **common)
    control = dict(file=name, seed=SEED + 8, scale=scale)
    mg.g_pipelines(dict(seed=SEED, pipelines=[case]), Book(control, 29))
    mg.build = build

    family, name, scale = "sdxl", "lllite-sdxl", 0.7
    steered = Models(family, SEED)
    image = ma.test_image(31, 64, 64)[None].permute(0, 3, 1, 2).float() / 255
    hook(steered.unet, family, mc.state_dict(manifests[name], SEED + 9, mg.WT), image, scale, (8, 8))
    mg.Models = lambda *_: steered
    case = dict(id="sdxl-lllite", family=family, kind="txt2img", seed=23, **common)
    control = dict(file=name, seed=SEED + 9, scale=scale)
    mg.g_pipelines(dict(seed=SEED, pipelines=[case]), Book(control, 31))
    mg.Models = models


def write():
    for name, entries in manifests.items():
        rows = ",\n".join(json.dumps(e, separators=(",", ":")) for e in entries)
        with open(os.path.join(HERE, "manifests", f"{name}-tiny-single.json"), "w") as f:
            f.write(json.dumps(dict(family=name, scale="tiny", layout="single"))[:-1])
            f.write(f',\n"files": {{\n"{name}.safetensors": [\n{rows}\n]}}}}\n')
    save_file(tensors, os.path.join(HERE, "goldens", FILE))
    path = os.path.join(HERE, "goldens", "index.json")
    lines = open(path).read().split("\n")
    kept = [s.rstrip(",") for s in lines if s.startswith('{"group"') and f'"file": "{FILE}"' not in s]
    own = [json.dumps(c, ensure_ascii=False) for c in cases]
    with open(path, "w") as f:
        f.write("\n".join(lines[:2]) + "\n" + ",\n".join(kept + own) + "\n]}\n")


if __name__ == "__main__":
    with torch.no_grad():
        control_loras()
        lllites()
        pipelines()
    write()
