"""Writes goldens.txt: random blocks and what the package gguf (PyPI) makes of them."""

import gguf
import numpy as np

NAMES = "Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS".split()
HALVES = {
    "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}  # fmt: skip

random = np.random.default_rng(20)
with open("goldens.txt", "w") as out:
    for name in NAMES:
        kind = gguf.GGMLQuantizationType[name]
        _, size = gguf.GGML_QUANT_SIZES[kind]
        for scale in [0.01, -3.0]:
            block = random.integers(0, 256, size, dtype=np.uint8)
            for at in HALVES[name]:
                half = np.float16(scale * random.uniform(0.5, 2))
                block[at : at + 2] = np.frombuffer(half.tobytes(), np.uint8)
            values = gguf.quants.dequantize(block.reshape(1, -1), kind).astype("<f4")
            out.write(f"{name} {block.tobytes().hex()} {values.tobytes().hex()}\n")
