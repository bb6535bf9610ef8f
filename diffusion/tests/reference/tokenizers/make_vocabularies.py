#!/usr/bin/env python3
"""Writes the vocabularies in diffusion/src/tokenizer/vocabulary/ from the tokenizer.json files of T5 v1.1 and Qwen3.

    make_vocabularies.py T5_TOKENIZER_JSON QWEN3_TOKENIZER_JSON FOLDER

Either input may be compressed with gzip. The files of FOLDER are described in its README.md. Needs numpy.
"""

import base64
import gzip
import json
import pathlib
import struct
import sys

import numpy

# Number of pieces that the model learned; the 100 sentinels `<extra_id_99>` to `<extra_id_0>` follow.
LEARNED = 32000
# The fast tokenizer looks up a grapheme as a whole only if it is shorter than so many bytes.
MAX_GRAPHEME = 6


def read(path):
    data = pathlib.Path(path).read_bytes()
    return json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)


def write(path, data):
    path.write_bytes(gzip.compress(data, 9, mtime=0))
    print(path.name, path.stat().st_size)


def planes(values):
    """The first byte of each little-endian value, then the second of each, and so on."""
    return numpy.ascontiguousarray(values.view(numpy.uint8).reshape(len(values), -1).T).tobytes()


def rules(charsmap):
    """The replacements of a precompiled map: a double-array trie, then the replacements, each with a zero after it."""
    (size,) = struct.unpack_from("<I", charsmap)
    units = numpy.frombuffer(charsmap, "<u4", size // 4, 4).tolist()
    replacements = charsmap[4 + size :]

    def offset(unit):
        return (unit >> 10) << ((unit & (1 << 9)) >> 6)

    found = {}
    waiting = [(offset(units[0]), b"")]
    while waiting:
        node, key = waiting.pop()
        for byte in range(1, 256):
            at = node ^ byte
            if at >= len(units) or units[at] & (1 << 31 | 0xFF) != byte:
                continue
            child, longer = at ^ offset(units[at]), key + bytes([byte])
            if units[at] >> 8 & 1:
                start = units[child] & (1 << 31) - 1
                found[longer.decode()] = replacements[start : replacements.index(b"\0", start)].decode()
            waiting.append((child, longer))
    return found


def reachable(found):
    """Those that the fast tokenizer can apply: it takes the shortest that a short grapheme begins with."""
    for source, target in sorted(found.items()):
        if len(source) == 1 or len(source.encode()) < MAX_GRAPHEME:
            if not any(source[:end] in found for end in range(1, len(source))):
                yield source, target


def main(t5_path, qwen3_path, folder):
    folder = pathlib.Path(folder)
    t5 = read(t5_path)
    vocabulary = t5["model"]["vocab"]
    assert [piece for piece, _ in vocabulary[LEARNED:]] == [f"<extra_id_{99 - i}>" for i in range(100)]
    assert all(score == 0 for _, score in vocabulary[LEARNED:])
    assert not any("\n" in piece or not piece for piece, _ in vocabulary)
    write(folder / "t5_pieces.gz", "\n".join(piece for piece, _ in vocabulary[:LEARNED]).encode())
    scores = numpy.array([score for _, score in vocabulary[:LEARNED]], dtype="<f4")
    assert scores.tolist() == [score for _, score in vocabulary[:LEARNED]]
    # Pieces are sorted by score, so the differences of the bits are small.
    write(folder / "t5_scores.gz", planes(numpy.diff(scores.view("<u4"), prepend=numpy.uint32(0)).astype("<u4")))
    first = t5["normalizer"]["normalizers"][0]
    pairs = list(reachable(rules(base64.b64decode(first["precompiled_charsmap"]))))
    assert not any("\0" in source + target for source, target in pairs)
    write(folder / "t5_rules.gz", "\0".join(text for pair in pairs for text in pair).encode())
    print(len(pairs), "rules")

    qwen3 = read(qwen3_path)["model"]
    ids = qwen3["vocab"]
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in qwen3["merges"]]
    # So the rank of a merge gives the id of its piece.
    assert all(ids[left + right] == 256 + rank for rank, (left, right) in enumerate(merges))
    write(folder / "qwen3_merges.gz", planes(numpy.array([[ids[piece] for piece in merge] for merge in merges], "<u4")))


main(*sys.argv[1:])
