#!/usr/bin/env python3
"""Weights with changes of every kind that LoRA files hold, merged in double precision with numpy alone.

Writes `lora_merge.json` beside it, which `tests/lora_merge.rs` compares with: python3 lora_merge.py
The formulas are those of the papers and of the programs that train such files: kohya's sd-scripts, LyCORIS, PEFT.
"""
import json
import pathlib

import numpy as np

random = np.random.default_rng(20)
LINEAR, CONV = (8, 6), (8, 2, 3, 3)


def values(*shape, scale=1.0):
    """Multiples of 1/64, which every dtype of weights holds exactly."""
    return np.round(random.uniform(-1, 1, shape) * 64 * scale) / 64


def matrix(weight):
    return weight.reshape(weight.shape[0], -1)


def cayley(blocks, limit):
    """(I + Q)(I - Q)^-1 of Q = A - A^T, whose length over all blocks is at most `limit`."""
    skew = blocks - np.swapaxes(blocks, -1, -2)
    length = np.sqrt((skew**2).sum())
    if limit and length > limit:
        skew = skew * (limit / length)
    unit = np.eye(blocks.shape[-1])
    return (unit + skew) @ np.linalg.inv(unit - skew)


def oft(weight, rotations):
    """Each block of rows, multiplied by the transpose of its rotation."""
    count, size, _ = rotations.shape
    rows = weight.reshape(count, size, -1)
    return np.einsum("knm,knc->kmc", rotations, rows).reshape(weight.shape)


def boft(weight, rotations):
    """The rows shuffled as in a butterfly, multiplied block by block, and brought back; once for each factor."""
    rows = matrix(weight)
    total = len(rows)
    for level, blocks in enumerate(rotations):
        count, size, _ = blocks.shape
        half = 2**level * size // 2
        order = [group + j + part * half for group in range(0, total, 2 * half) for j in range(half) for part in (0, 1)]
        shuffle = np.eye(total)[order]
        block_diagonal = np.zeros((total, total))
        for k in range(count):
            block_diagonal[k * size:(k + 1) * size, k * size:(k + 1) * size] = blocks[k]
        rows = shuffle.T @ block_diagonal @ shuffle @ rows
    return rows.reshape(weight.shape)


def lora(up, down, mid=None):
    if mid is not None:
        return np.einsum("nmkl,in,mj->ijkl", mid, matrix(up), matrix(down))
    return (matrix(up) @ matrix(down))


def lengths(weight, of_inputs):
    """The length of each vector of outputs, or of inputs with their kernel."""
    axes = tuple(axis for axis in range(weight.ndim) if axis != (1 if of_inputs else 0))
    return np.sqrt((weight**2).sum(axis=axes, keepdims=True))


cases = []


def case(name, weight, tensors, merged, strength=1.0):
    shaped = lambda array: {"shape": list(array.shape), "values": array.ravel().tolist()}
    result = weight + strength * (merged.reshape(weight.shape) - weight)
    cases.append({"name": name, "weight": shaped(weight), "strength": strength, "merged": result.ravel().round(8).tolist(),
                  "tensors": {end: shaped(np.asarray(array, dtype=float)) for end, array in tensors.items()}})


for shape in (LINEAR, CONV):
    kind = "linear" if shape == LINEAR else "convolution"
    outputs, inputs, kernel = shape[0], shape[1], shape[2:]
    ones = (1,) * len(kernel)
    w = values(*shape)

    up, down = values(outputs, 2, *ones), values(2, inputs, *kernel)
    change = lora(up, down).reshape(shape)
    parts = {"lora_up.weight": up, "lora_down.weight": down, "alpha": np.array(3.0)}
    case(f"lora {kind}", w, parts, w + 1.5 * change, 0.75)
    for of_inputs in (False, True):
        wanted = 1 + np.abs(values(*lengths(w, of_inputs).shape))
        summed = w + 1.5 * change
        case(f"dora of {'inputs' if of_inputs else 'outputs'} {kind}", w, parts | {"dora_scale": wanted},
             wanted * summed / lengths(summed, of_inputs), 0.75)
    if kernel:
        mid, down = values(2, 2, *kernel), values(2, inputs, 1, 1)
        case("lora with a core", w, {"lora_up.weight": up, "lora_mid.weight": mid, "lora_down.weight": down},
             w + lora(up, down, mid))

    columns = matrix(w).shape[1]
    a1, b1, a2, b2 = values(outputs, 2), values(2, columns), values(outputs, 2), values(2, columns)
    case(f"loha {kind}", w, {"hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2, "alpha": np.array([1.0])},
         w + 0.5 * ((a1 @ b1) * (a2 @ b2)).reshape(shape))
    k1, k2 = values(2, 2), values(outputs // 2, inputs // 2, *kernel)
    case(f"lokr {kind}", w, {"lokr_w1": k1, "lokr_w2": k2}, w + np.kron(k1.reshape(2, 2, *ones), k2))
    left, right = values(outputs // 2, 1), values(1, columns // 2)
    case(f"lokr of a product {kind}", w, {"lokr_w1": k1, "lokr_w2_a": left, "lokr_w2_b": right, "alpha": np.array(0.5)},
         w + 0.5 * np.kron(k1.reshape(2, 2, *ones), (left @ right).reshape(outputs // 2, inputs // 2, *kernel)))

    difference = values(*shape)
    case(f"difference {kind}", w, {"diff": difference}, w + difference, -0.5)
    factors = values(outputs)
    case(f"ia3 {kind}", w, {"weight": factors, "on_input": np.array(0.0)}, w * (1 + factors.reshape(-1, 1, *ones)), 0.5)

    # GLoRA: W + scale * (W A1 A2 + B1 B2), A acting on the input channels.
    one, two = values(inputs, 3), values(3, inputs)
    b_one, b_two = values(outputs, 3, *ones), values(3, inputs, *kernel)
    added = np.einsum("oi...,ij->oj...", w, one @ two) + lora(b_one, b_two).reshape(shape)
    wide = lambda array: array.reshape(*array.shape, *ones)
    case(f"glora {kind}", w, {"a1.weight": wide(one), "a2.weight": wide(two), "b1.weight": b_one, "b2.weight": b_two,
                              "alpha": np.array(1.5)}, w + 0.5 * added, 0.5)
    case(f"glora of early versions {kind}", w, {"a2.weight": wide(one), "a1.weight": wide(two), "b2.weight": b_one,
                                                "b1.weight": b_two}, w + added)

    blocks = values(2, 4, 4)
    case(f"oft {kind}", w, {"oft_blocks": blocks, "alpha": np.array(0.0)}, oft(w, cayley(blocks, 0)), 0.75)
    case(f"oft with a limit {kind}", w, {"oft_blocks": blocks, "alpha": np.array(0.125)},
         oft(w, cayley(blocks, 0.125 * outputs)))
    rescale = 1 + values(outputs, 1, *ones, scale=0.5)
    case(f"oft with factors {kind}", w, {"oft_blocks": blocks, "rescale": rescale}, rescale * oft(w, cayley(blocks, 0)), 0.5)
    case(f"oft of early versions {kind}", w, {"oft_diag": blocks}, oft(w, blocks))
    butterfly = values(3, 4, 2, 2)
    case(f"boft {kind}", w, {"oft_blocks": butterfly, "alpha": np.array(0.0)}, boft(w, cayley(butterfly, 0)), 0.75)
    butterfly = values(2, 2, 4, 4)
    case(f"boft with factors and a limit {kind}", w,
         {"oft_blocks": butterfly, "rescale": rescale, "alpha": np.array(0.0625)},
         rescale * boft(w, cayley(butterfly, 0.0625 * outputs)))

path = pathlib.Path(__file__).with_suffix(".json")
lines = ",\n".join(json.dumps(each) for each in cases)
path.write_text(f"[\n{lines}\n]\n")
print(f"{len(cases)} cases, {path.stat().st_size} bytes")
