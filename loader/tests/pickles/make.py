"""Writes the pickles in this folder, with torch, numpy and safetensors: `python make.py`.

Each holds the tensors of expected.safetensors in one of the forms and protocols of torch.save.
"""

import io
import pickle
import struct
import sys
import tarfile
import types
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent


def tensors():
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 8 - 0.5
    dtypes = "float16 bfloat16 float64 int64 int32 int16 int8 uint8 bool".split()
    values = {name: (torch.arange(6).reshape(2, 3) - 2).to(getattr(torch, name)) for name in dtypes}
    return {
        "base": base,
        "transposed": base.t(),
        "columns": base[:, 1:3],
        "every second": base.flatten()[::2],
        "row": base[1],
        "expanded": torch.tensor([1.5, -2.0]).expand(3, 2),
        "scalar": torch.tensor(7.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.tensor([[1.0, 2.0]])),
        "channels_last": torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
        "f8": torch.tensor([1.0, -0.5, 448.0]).to(torch.float8_e4m3fn),
        **values,
    }


def save(name, value, **options):
    torch.save(value, FOLDER / name, **options)


def lightning(values):
    """What a trainer saves beside the weights, with the class that the first Stable Diffusion models name."""
    parts = ["pytorch_lightning", "pytorch_lightning.callbacks", "pytorch_lightning.callbacks.model_checkpoint"]
    for part in parts:
        sys.modules[part] = types.ModuleType(part)
    checkpoint = type("ModelCheckpoint", (), {"__module__": parts[-1]})
    sys.modules[parts[-1]].ModelCheckpoint = checkpoint
    return {
        "epoch": 3,
        "global_step": 470000,
        "pytorch-lightning_version": "1.4.2",
        "callbacks": {checkpoint: {"best_model_score": torch.tensor(0.25), "monitor": numpy.float64(0.5)}},
        "optimizer_states": [{"state": {0: {"step": 5, "exp_avg": torch.ones(2)}}}],
        "array": numpy.arange(3),
        "device": torch.device("cpu"),
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        "state_dict": values,
    }


def write_tar(values):
    """The form of the first year, which torch.load still reads and torch.save no longer writes."""
    kinds = {torch.float32: "FloatStorage", torch.int64: "LongStorage", torch.float16: "HalfStorage"}
    chosen = {name: value for name, value in values.items() if value.dtype in kinds and value.numel() > 0}
    storages, tensors_file, ids = io.BytesIO(), io.BytesIO(), {}
    kept = {}
    for value in chosen.values():
        kept.setdefault(value.untyped_storage().data_ptr(), value)
    dump = lambda value, file: pickle.dump(value, file, protocol=2)
    dump(len(kept), storages)
    for key, value in kept.items():
        dump((key, "cpu", getattr(torch, kinds[value.dtype])), storages)
        data = bytes(value.detach().untyped_storage())
        storages.write(struct.pack("<q", len(data) // value.element_size()) + data)
    dump([], storages)
    dump(len(chosen), tensors_file)
    for index, (name, value) in enumerate(chosen.items()):
        ids[name] = 1000 + index
        dump((ids[name], value.untyped_storage().data_ptr(), torch.FloatTensor), tensors_file)
        tensors_file.write(struct.pack("<ii", value.dim(), 0))
        numbers = [*value.shape, *value.stride(), value.storage_offset()]
        tensors_file.write(struct.pack(f"<{len(numbers)}q", *numbers))

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return item.key if isinstance(item, Key) else None

    class Key:
        def __init__(self, key):
            self.key = str(key)

    main = io.BytesIO()
    Pickler(main, protocol=2).dump({name: Key(key) for name, key in ids.items()})
    system = io.BytesIO()
    dump({"protocol_version": 1000, "little_endian": True}, system)
    with tarfile.open(FOLDER / "tar.pt", "w:", format=tarfile.PAX_FORMAT) as tar:
        for name, file in ("sys_info", system), ("pickle", main), ("tensors", tensors_file), ("storages", storages):
            info = tarfile.TarInfo(name)
            info.size = len(file.getvalue())
            tar.addfile(info, io.BytesIO(file.getvalue()))
    read = torch.load(FOLDER / "tar.pt", weights_only=False)
    for name, value in chosen.items():
        assert torch.equal(read[name], value), name


def main():
    values = tensors()
    expected = {name: value.detach().contiguous().clone() for name, value in values.items()}
    save_file(expected, FOLDER / "expected.safetensors")
    for protocol in range(1, 6):
        save(f"zip-{protocol}.pt", values, pickle_protocol=protocol)
    legacy = {name: value for name, value in values.items() if value.dtype != torch.float8_e4m3fn}
    for protocol in range(2, 6):
        save(f"legacy-{protocol}.pt", legacy, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    linear = torch.nn.Linear(2, 3)
    with torch.no_grad():
        linear.weight.copy_(torch.arange(6).reshape(3, 2))
        linear.bias.copy_(torch.tensor([0.5, 1.5, 2.5]))
    save("lightning.ckpt", lightning(linear.state_dict()))
    save("lightning-legacy.ckpt", lightning(linear.state_dict()), _use_new_zipfile_serialization=False)
    word = torch.nn.ParameterDict({"*": torch.nn.Parameter(torch.arange(8.0).reshape(2, 4))})
    inversion = {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": word, "name": "cat", "step": 100}
    save("inversion.pt", inversion)
    save("inversion-legacy.pt", inversion, _use_new_zipfile_serialization=False)
    write_tar(values)


main()
