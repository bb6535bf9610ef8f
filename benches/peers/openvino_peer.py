"""Times one stage of Stable Diffusion 1.5 with OpenVINO on the CPU.

    python openvino_peer.py MODELS text|unet|vae [--runs 5] [--threads 2] [--precision f32|bf16|int8]

MODELS is a folder that openvino_convert.py wrote, with --int8 for int8. PyTorch is not loaded, so that the memory is OpenVINO's own.
"""
import os
import time

import numpy
import openvino
from common import arguments, openvino_options, report, time_stage


def used(compiled):
    """The instruction sets that the kernels of a compiled model name; where there are both, the kinds of layer that use
    AVX-512."""
    layers = {"AVX2": set(), "AVX-512": set(), "AMX": set()}
    for layer in compiled.get_runtime_model().get_ops():
        about = layer.get_rt_info()
        for name, kinds in layers.items():
            if name.replace("-", "").lower() in about["primitiveType"].value:
                kinds.add(about["layerType"].value)
    rest = layers["AVX-512"]
    if layers["AVX2"] and rest and not layers["AMX"]:
        return ["AVX2", *(f"AVX-512 in {kind}" for kind in sorted(rest))]
    return [name for name, kinds in layers.items() if kinds]


def main():
    args = arguments(__doc__)
    options = openvino_options(args.precision, args.threads)
    start = time.perf_counter()
    core = openvino.Core()
    model = core.read_model(os.path.join(args.model, f"{args.stage}.xml"))
    compiled = core.compile_model(model, "CPU", options)
    request = compiled.create_infer_request()
    load_seconds = time.perf_counter() - start

    random = numpy.random.default_rng(1)
    normal = lambda *shape: random.standard_normal(shape, dtype=numpy.float32)
    if args.stage == "text":
        inputs = [numpy.arange(1000, 1154).reshape(2, 77)]
    elif args.stage == "unet":
        inputs = [normal(2, 4, 64, 64), numpy.array(500, numpy.float32), normal(2, 77, 768)]
    else:
        inputs = [normal(1, 4, 64, 64)]
    seconds = time_stage(args.stage, lambda: request.infer(inputs)[0], args.runs)
    report(f"OpenVINO {openvino.__version__.split('-')[0]}", used(compiled), load_seconds, {args.stage: seconds})


if __name__ == "__main__":
    main()
