"""Converts the stages of Stable Diffusion 1.5 for openvino_peer.py.

    python openvino_convert.py FOLDER MODELS [--int8]

FOLDER is a diffusers folder. Writes text.xml, unet.xml and vae.xml, each with its .bin, into the folder MODELS: fixed
shapes, and weights in f16 as in the checkpoint, or with --int8 in int8,
each output channel with a scale and a zero point of its own (nncf).
"""
import os
import sys
import warnings

import nncf
import openvino
import torch
from torch_peer import FOLDERS, load


class Bare(torch.nn.Module):
    """A module whose forward is `call`, which takes tensors by position and gives a tensor."""

    def __init__(self, module, call):
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, *inputs):
        return self.call(*inputs)


def main():
    folder, models, *rest = sys.argv[1:]
    warnings.filterwarnings("ignore")
    os.makedirs(models, exist_ok=True)
    for stage in FOLDERS:
        module, call, inputs = load(folder, stage)
        with torch.no_grad():
            shapes = [list(value.shape) for value in inputs]
            model = openvino.convert_model(Bare(module, call), example_input=tuple(inputs), input=shapes)
        if rest == ["--int8"]:
            model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
        openvino.save_model(model, os.path.join(models, f"{stage}.xml"), compress_to_fp16=True)


if __name__ == "__main__":
    main()
