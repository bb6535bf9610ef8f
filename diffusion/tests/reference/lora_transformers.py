"""LoRAs of diffusion transformers in every form of names, merged in double precision.

  python lora_transformers.py

Writes `lora_transformers.json` beside it, which `tests/transformers/loras.rs` compares with. A case is a file of LoRA factors: names and
shapes; their values follow from the names (`values`). What is expected of each weight of the tiny network of diffusers is a few sums
over its difference (`digest`), which no other order of rows has.

Which rows of an original layer are which layer of diffusers, the manifests say, which `make_transformers.py` made and checked. Forms that
diffusers reads are also merged by it, and must give the same.
"""
import inspect
import json
import pathlib

import numpy as np
import torch
from diffusers import FluxPipeline, StableDiffusion3Pipeline, ZImagePipeline
from diffusers.loaders import lora_conversion_utils, lora_pipeline

HERE = pathlib.Path(__file__).parent
STRENGTH = 0.75
SUMS = 4
FAMILIES = {"sd35-medium": StableDiffusion3Pipeline, "flux-dev": FluxPipeline, "z-image": ZImagePipeline}
# What diffusers knows of the published width alone.
WIDTHS = "dims=[3072, 3072, 3072, 12288]"


def values(name, shape):
    seed = sum((i + 1) * byte for i, byte in enumerate(name.encode())) % 10007
    n = np.arange(1, int(np.prod(shape)) + 1)
    return (((n * 7919 + seed * 31) % 257 - 128) / 256).reshape(shape)


def digest(change):
    n = np.arange(1, change.size + 1)
    return [float((change.ravel() * ((n * (2 * k + 3) * 7919) % 1009 / 504.5 - 1)).sum()) for k in range(SUMS)]


def manifest(family):
    return json.load(open(HERE / f"transformer_manifests/{family}-tiny-diffusers.json"))["files"][f"{family}.safetensors"]


class Layers:
    """Layers of a network, of both layouts: the weights of diffusers that each consists of, in the order of its rows."""

    def __init__(self, family):
        self.shapes = {e["name"]: e["shape"] for e in manifest(family)}
        self.theirs = {e["name"].removesuffix(".weight"): [(e["name"], False)] for e in manifest(family)
                       if e["name"].endswith(".weight") and len(e["shape"]) == 2}
        ours = {}
        for e in manifest(family):
            if e["name"].endswith(".weight") and len(e["shape"]) == 2:
                start = e.get("rows", [0])[0]
                ours.setdefault(e["src"].removesuffix(".weight"), []).append((start, e["name"], e.get("op") == "swap"))
        self.ours = {old: [(name, swap) for _, name, swap in sorted(parts)] for old, parts in ours.items()}

    def rows(self, parts):
        return sum(self.shapes[name][0] for name, _ in parts)

    def columns(self, parts):
        return self.shapes[parts[0][0]][1]


def add(expected, layers, parts, change):
    """A difference of a layer, as those of the weights of diffusers."""
    at = 0
    for name, swap in parts:
        rows = layers.shapes[name][0]
        part = change[at:at + rows]
        at += rows
        if swap:
            part = np.concatenate([part[rows // 2:], part[:rows // 2]])
        expected[name] = expected.get(name, 0) + part


PEFT = ("lora_A.weight", "lora_B.weight")
KOHYA = ("lora_down.weight", "lora_up.weight")


def numbered(name, parts):
    """The parts of a fused layer as OneTrainer numbers them."""
    return [(f"{name}.{i}", [part]) for i, part in enumerate(parts)] if len(parts) > 1 else [(name, parts)]


def xlabs(layers):
    out = []
    for i in range(2):
        double, single = f"double_blocks.{i}", f"single_blocks.{i}"
        for ours, theirs in [("img_attn.qkv", "qkv_lora1"), ("txt_attn.qkv", "qkv_lora2"), ("img_attn.proj", "proj_lora1"),
                             ("txt_attn.proj", "proj_lora2")]:
            out.append((f"{double}.processor.{theirs}", layers.ours[f"{double}.{ours}"]))
        out.append((f"{single}.processor.qkv_lora", layers.ours[f"{single}.linear1"][:3]))
        out.append((f"{single}.processor.proj_lora", layers.ours[f"{single}.linear2"]))
    return out


def forms(family, layers):
    """Name of the form, its modules with the weights that each consists of, the ends of its names, and whether it has alphas."""
    ours, theirs = list(layers.ours.items()), list(layers.theirs.items())
    flat = lambda prefix, named: [(prefix + name.replace(".", "_"), parts) for name, parts in named]
    below = lambda prefix, named: [(prefix + name, parts) for name, parts in named]
    yield "kohya", flat("lora_unet_", ours), KOHYA, True
    yield "kohya-diffusers", flat("lora_transformer_", theirs), KOHYA, True
    yield "peft", below("transformer.", theirs), PEFT, False
    yield "peft-base", below("base_model.model.", theirs), PEFT, False
    yield "comfy", below("diffusion_model.", ours), KOHYA, True
    yield "comfy-peft", below("diffusion_model.", theirs), PEFT, False
    yield "bare", ours, KOHYA, True
    yield "bare-peft", theirs, PEFT, False
    yield "lycoris", flat("lycoris_", theirs), KOHYA, True
    yield "onetrainer", below("transformer.", [part for name, parts in ours for part in numbered(name, parts)]), KOHYA, True
    if family == "flux-dev":
        yield "kohya-base", below("base_model.model.", ours), PEFT, False
        yield "xlabs", xlabs(layers), ("down.weight", "up.weight"), False


def diffusers_state(pipeline, state, linear1):
    source = inspect.getsource(lora_conversion_utils._convert_kohya_flux_lora_to_diffusers)
    assert WIDTHS in source
    scope = dict(vars(lora_conversion_utils))
    exec(source.replace(WIDTHS, f"dims={linear1}").replace("range(19)", "range(2)").replace("range(38)", "range(2)"), scope)
    lora_pipeline._convert_kohya_flux_lora_to_diffusers = scope["_convert_kohya_flux_lora_to_diffusers"]
    more = dict(return_alphas=True) if pipeline is FluxPipeline else {}
    found = pipeline.lora_state_dict(dict(state), **more)
    return found[0] if isinstance(found, tuple) else found


def by_diffusers(family, layers, state):
    """The differences of the factors that diffusers makes of it: none for a form that it does not read."""
    pipeline = FAMILIES[family]
    try:
        converted = diffusers_state(pipeline, {name: torch.from_numpy(value).float() for name, value in state.items()},
                                    [64, 64, 64, 256])
    except (ValueError, KeyError, AssertionError, NotImplementedError, IndexError):
        return {}
    found = {}
    # Its embedders and last layer it converts to names that it does not load, and leaves their alphas out.
    for name, down in converted.items():
        module = name.removeprefix("transformer.").removesuffix(".lora_A.weight")
        if name == f"transformer.{module}.lora_A.weight" and f"{module}.weight" in layers.shapes:
            up = converted[f"transformer.{module}.lora_B.weight"]
            found[f"{module}.weight"] = STRENGTH * (up.double().numpy() @ down.double().numpy())
    return found


cases = []
for family in FAMILIES:
    layers = Layers(family)
    for form, modules, (down_end, up_end), has_alpha in forms(family, layers):
        state, expected = {}, {}
        for module, parts in modules:
            rank = 2 + len(module) % 2
            down = values(f"{module}.{down_end}", (rank, layers.columns(parts)))
            up = values(f"{module}.{up_end}", (layers.rows(parts), rank))
            state |= {f"{module}.{down_end}": down, f"{module}.{up_end}": up}
            scale = 1.0
            if has_alpha:
                state[f"{module}.alpha"] = np.array(1.5)
                scale = 1.5 / rank
            add(expected, layers, parts, STRENGTH * scale * (up @ down))
        found = by_diffusers(family, layers, state)
        for name, change in found.items():
            worst = np.abs(change - expected[name]).max()
            assert worst < 1e-5, (family, form, name, worst)
        print(f"{family} {form}: {len(modules)} modules, {len(expected)} weights, {len(found)} also by diffusers")
        cases.append({"family": family, "form": form, "strength": STRENGTH, "alpha": 1.5 if has_alpha else None,
                      "tensors": {name: list(value.shape) for name, value in state.items() if value.ndim},
                      "modules": len(modules),
                      "expected": {name: [round(x, 7) for x in digest(change)] for name, change in expected.items()}})

path = pathlib.Path(__file__).with_suffix(".json")
lines = ",\n".join(json.dumps(each, separators=(",", ":")) for each in cases)
path.write_text(f"[\n{lines}\n]\n")
print(f"{len(cases)} cases, {path.stat().st_size} bytes")
