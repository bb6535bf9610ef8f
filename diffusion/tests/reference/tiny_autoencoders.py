"""Adds the cases of a TAESD for latents of 16 channels (TAESD3, TAEF1) to the reference data, computed with diffusers (float32, CPU).

  python tiny_autoencoders.py TOOLS

TOOLS is the folder with `make_checkpoint.py` and `make_goldens.py`, by which the other cases were made. Writes
`manifests/taesd3-tiny-single.json`, `goldens/vae/taesd3.safetensors`, the cases `vae/taesd/taesd3-*` in `goldens/index.json` and their names
in `spec.json`.
"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[1])
import torch
import make_checkpoint as mc
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
import golden_index

torch.set_grad_enabled(False)
SEED, CHANNELS, SCRIPT, FILE, FAMILY = 1234, 16, "tiny_autoencoders.py", "vae/taesd3.safetensors", "taesd3"
LATENTS = {"decoder.layers.0.weight": 1, "encoder.layers.14.weight": 0, "encoder.layers.14.bias": 0}


def manifest():
    """That of a TAESD, with other channels where latents are."""
    entries = json.load(open(os.path.join(HERE, "manifests/taesd-tiny-single.json")))["files"]["taesd.safetensors"]
    for entry in entries:
        if entry["name"] in LATENTS:
            assert entry["shape"][LATENTS[entry["name"]]] == 4
            entry["shape"][LATENTS[entry["name"]]] = CHANNELS
    rows = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
    with open(os.path.join(HERE, f"manifests/{FAMILY}-tiny-single.json"), "w") as f:
        f.write(f'{{"family": "{FAMILY}", "scale": "tiny", "layout": "single",\n"files": {{\n"{FAMILY}.safetensors": [\n{rows}\n]}}}}\n')
    return entries


entries = manifest()
width = next(entry["shape"][0] for entry in entries if entry["name"] == "decoder.layers.0.weight")
model = AutoencoderTiny(encoder_block_out_channels=(width,) * 4, decoder_block_out_channels=(width,) * 4, latent_channels=CHANNELS).eval()
model.load_state_dict(mc.state_dict(entries, SEED, "F16"))
tensors, cases = {}, []
for case, (height, columns) in {"taesd3-square": (64, 64), "taesd3-wide": (32, 80)}.items():
    image = (torch.arange(3 * height * columns) * 7919 % 1009 / 504.5 - 1).reshape(1, 3, height, columns)
    latent = (torch.arange(CHANNELS * height * columns // 64) * 104729 % 1013 / 253.25 - 2).reshape(1, CHANNELS, height // 8, columns // 8)
    values = dict(image=image, latent_of_image=model.encode(image).latents, latent=latent, decoded=model.decode(latent).sample)
    print(case, {key: round(float(value.std()), 3) for key, value in values.items()})
    tensors |= {f"{case}/{key}": value.float().contiguous().clone() for key, value in values.items()}
    cases.append(dict(group="vae/taesd", case=case, file=FILE, tensors={key: list(value.shape) for key, value in values.items()},
                      checkpoint=dict(family=FAMILY, scale="tiny", seed=SEED, dtype="f16"), tol=dict(abs=2e-4, rel=2e-4)))
save_file(tensors, os.path.join(HERE, "goldens", FILE))
golden_index.put(FILE, cases)
golden_index.list_in_spec(SCRIPT, cases)
