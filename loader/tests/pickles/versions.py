"""Saves tensors with the torch that runs it, in every form and protocol that torch.save has: `python versions.py FOLDER`.

FOLDER gets a folder of that version: each `NAME.FORM.pt` holds the tensors of `NAME.safetensors`. Nothing but torch is needed, so that
old versions do. `LATENT_PICKLES=FOLDER cargo test -p latent-loader pickles` reads them all.
"""

import json
import struct
import sys
from collections import OrderedDict
from pathlib import Path

import torch

DTYPES = {
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "uint16": "U16", "uint32": "U32",
}
NEW = ("float8_e4m3fn", "float8_e5m2", "uint16", "uint32")


def numbered(dtype, *shape):
    count = 1
    for dim in shape:
        count *= dim
    values = torch.arange(count).reshape(shape)
    return (values % 2 if dtype == "bool" else values - 2 if not dtype.startswith("u") else values).to(getattr(torch, dtype))


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.tied = torch.nn.Linear(5, 2)
        self.again = torch.nn.Linear(5, 2)
        self.again.weight = self.tied.weight
        with torch.no_grad():
            for index, weight in enumerate(self.parameters()):
                weight.copy_(torch.arange(weight.numel()).reshape(weight.shape) / 16 - index)


def noted(tensor):
    """A tensor with an attribute of its own, which is saved through another function."""
    tensor.note = "kept beside it"
    return tensor


def values():
    base = numbered("float32", 4, 6)
    return {
        "base": base, "transposed": base.t(), "columns": base[:, 1:4], "rows": base[1:3], "every second": base.flatten()[::2],
        "one row": base[2], "one value": base[3, 2], "crossed": base[1::2, ::3], "expanded": base[0, :2].expand(3, 2),
        "permuted": numbered("float16", 2, 3, 4).permute(2, 0, 1), "half part": numbered("float16", 5, 4)[2:4, 1:],
        "bf16 part": numbered("bfloat16", 5, 4)[1::2], "channels last": numbered("float16", 1, 2, 3, 4).to(memory_format=torch.channels_last),
        "empty": torch.zeros(0, 3), "scalar": torch.tensor(7.5), "parameter": torch.nn.Parameter(base[:2].clone()),
        "frozen": torch.nn.Parameter(base[2:].clone(), requires_grad=False), "half parameter": torch.nn.Parameter(numbered("float16", 2, 2)),
        "learned": numbered("float32", 3).requires_grad_(), "noted": noted(numbered("float32", 3)),
        "noted parameter": noted(torch.nn.Parameter(numbered("float32", 2))),
        "hooked": OrderedDict([("inner", numbered("int64", 2)), ("deeper", {"still": numbered("int32", 2, 1)})]),
    }


def cases():
    state = Block().state_dict
    plain = {name: numbered(name, 2, 3) for name in DTYPES if name not in NEW}
    yield "views", values(), values(), False
    yield "dtypes", plain, plain, False
    new = {name: numbered(name, 2, 3) for name in NEW if hasattr(torch, name)}
    if new:
        yield "new-dtypes", new, new, True
    yield "module", Block().state_dict(), state(), False
    for dtype in "half", "bfloat16":
        yield dtype, getattr(Block(), dtype)().state_dict(), getattr(Block(), dtype)().state_dict(), False
    optimizer = torch.optim.Adam(Block().parameters()).state_dict()
    trainer = {"epoch": 3, "step": torch.tensor(5), "optimizer": optimizer, "state_dict": state(), "args": None, "rate": 1e-4, "many": 1 << 70}
    yield "trainer", trainer, state(), False
    yield "ema", {"params": values(), "params_ema": state(), "shape": torch.Size([2, 3]), "dtype": torch.float16}, state(), False


def flat(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, prefix + name + ".")
        else:
            yield prefix + name, value.detach()


def write_safetensors(path, tree):
    header, data = {}, b""
    for name, value in flat(tree):
        value = value.contiguous().clone()
        raw = bytes(value.flatten().view(torch.uint8).tolist()) if value.numel() and value.dtype != torch.bool else bytes(value.flatten().tolist())
        dtype = DTYPES[str(value.dtype).split(".")[-1]]
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    folder = Path(sys.argv[1]) / ("torch-" + torch.__version__.split("+")[0])
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, value, expected, only_zip in cases():
        write_safetensors(folder / f"{name}.safetensors", expected)
        for protocol in range(2, 6):
            torch.save(value, folder / f"{name}.zip{protocol}.pt", pickle_protocol=protocol)
            count += 1
            if not only_zip:
                path = folder / f"{name}.legacy{protocol}.pt"
                torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
                count += 1
    print(folder, count, "files")


main()
