"""What the peers written in Python share: the arguments, the clock and the form of the result."""
import argparse
import json
import time

# The shape of what each stage computes: two prompts, one CFG step, one picture of 512x512
RESULTS = {"text": (2, 77, 768), "unet": (2, 4, 64, 64), "vae": (1, 3, 512, 512)}

# What a peer may compute in; int8 is of the weights alone, and only OpenVINO has it here
PRECISIONS = ("f32", "bf16", "int8")


def openvino_options(precision, threads):
    """OpenVINO's options for a precision: in f32 as exact as it can be, else what it does by default on such a CPU."""
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    if precision == "f32":
        return {**options, "INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
    return {**options, "INFERENCE_PRECISION_HINT": "bf16"}


def arguments(description):
    """MODEL STAGE [--runs N] [--threads N] [--precision P]"""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("stage", choices=RESULTS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="f32", choices=PRECISIONS)
    return parser.parse_args()


def time_stage(stage, forward, runs):
    """The seconds of `runs` calls after one that warms up."""
    seconds = []
    for run in range(runs + 1):
        start = time.perf_counter()
        result = forward()
        elapsed = time.perf_counter() - start
        if tuple(result.shape) != RESULTS[stage]:
            raise SystemExit(f"{stage}: got {tuple(result.shape)} where {RESULTS[stage]} was expected")
        if run > 0:
            seconds.append(elapsed)
    return seconds


def report(name, isa, load_seconds, stages):
    """Prints the result as the last line, which run.py reads.

    `isa` lists the instruction sets that were used; `stages` maps names to the seconds of each run.
    """
    print(json.dumps({"name": name, "isa": isa, "load_seconds": load_seconds, "stages": stages}), flush=True)
