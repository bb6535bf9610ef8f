"""What benches/gpu.sh prints: the check of the pictures, and the table of a GPU beside its peer. Needs only Python.

    python gpu_table.py check REFERENCE.png PICTURE.png ...    exit status 1 if an f32 picture differs by more than 2 of 255
    python gpu_table.py table LATENT.json [PEER.json]
"""
import json
import os
import struct
import sys
import zlib

# What a picture may differ by from the CPU's, of 255; f16 is told and not judged.
LIMIT = 2


def pixels(path):
    """The bytes of an 8-bit RGB PNG that is not interlaced, filters undone."""
    data = open(path, "rb").read()
    at, packed, width, height = 8, b"", 0, 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, color, _, _, interlace = struct.unpack(">IIBBBBB", body)
            if (depth, color, interlace) != (8, 2, 0):
                raise SystemExit(f"{path}: no plain RGB picture")
        if kind == b"IDAT":
            packed += body
        at += 12 + length
    raw, stride, rows = zlib.decompress(packed), 3 * width, []
    above = bytearray(stride)
    for y in range(height):
        kind, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        for i in range(stride):
            left, up, corner = (row[i - 3], above[i], above[i - 3]) if i >= 3 else (0, above[i], 0)
            guess = left + up - corner
            nearest = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
            row[i] = (row[i] + (0, left, up, (left + up) // 2, nearest)[kind]) & 255
        rows.append(bytes(row))
        above = row
    return b"".join(rows)


def check(reference, pictures):
    wanted, failed = pixels(reference), False
    for path in pictures:
        if not os.path.exists(path):
            print(f"{path}: missing")
            failed |= "f16" not in path
            continue
        got = pixels(path)
        worst = max(abs(a - b) for a, b in zip(wanted, got)) if len(got) == len(wanted) else 255
        is_bad = worst > LIMIT and "f16" not in path
        failed |= is_bad
        print(f"{path}: differs by at most {worst} of 255{' FAILED' if is_bad else ''}")
    return 1 if failed else 0


def table(ours, peer):
    ours = json.load(open(ours))
    peer = json.load(open(peer)) if os.path.exists(peer) else None
    print(f"{ours['device']}, {ours['precision']}; beside {peer['name'] if peer else 'no peer'}")
    print(f"{'stage':<10}{'seconds':>10}{'TFLOP/s':>10}{'peer':>10}{'ratio':>8}")
    for stage in ours["stages"]:
        seconds = stage["seconds"]
        line = f"{stage['name']:<10}{seconds:>10.4f}{stage['direct_gflop'] / seconds / 1e3:>10.2f}"
        if peer:
            line += f"{peer['stages'][stage['name']]:>10.4f}{peer['stages'][stage['name']] / seconds:>7.2f}x"
        print(line)
    by_name = {stage["name"]: stage["seconds"] for stage in ours["stages"]}
    if "unet" in by_name:
        print(f"CFG steps a second: {1 / by_name['unet']:.1f} (wanted: 25)")
    if "vae" in by_name:
        print(f"VAE decode: {1e3 * by_name['vae']:.1f} ms (wanted: under 60)")
    return 0


if sys.argv[1] == "check":
    sys.exit(check(sys.argv[2], sys.argv[3:]))
sys.exit(table(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""))
