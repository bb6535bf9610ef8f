#!/usr/bin/env bash
# Checks and times a GPU, and compares it with diffusers in PyTorch (f16, eager) in the same run. Builds nothing.
#
#   benches/gpu.sh [LATENT] [OUT]
#
# LATENT is the program (default target/release/latent), OUT a folder for results (default gpu-results). Environment:
# DEVICE is the GPU (default gpu; see `latent devices`), RUNS the timed runs of a stage (default 20), FAMILIES the models
# (default "sd15 sdxl"), SIZE the width and height of their images (default each model's own). A software adapter goes through all of it
# in some minutes with RUNS=1 FAMILIES=sd15 SIZE=64.
#
# It needs python3 for the check of the pictures and the table. With the packages torch (of CUDA), diffusers and
# transformers it also times the peer; without them it says so.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
latent=$(realpath "${1:-$here/../target/release/latent}")
out=${2:-gpu-results}
device=${DEVICE:-gpu}
runs=${RUNS:-20}
size=(${SIZE:+--size "$SIZE"})
mkdir -p "$out"
cd "$out"

echo "== devices"
"$latent" devices | tee devices.txt

echo "== check: the demo picture of the GPU beside that of the CPU"
draw() { "$latent" txt2img "a red apple" --raw-size -s 7 --steps 20 -o "$1.png" "${@:2}" >/dev/null; }
draw cpu --device cpu --precision f32
draw f32 --device "$device" --precision f32
draw f16 --device "$device" || echo "f16: FAILED"
LATENT_GPU=minimal draw least --device "$device"
python3 "$here/peers/gpu_table.py" check cpu.png f32.png least.png f16.png

for family in ${FAMILIES:-sd15 sdxl}; do
    echo "== $family"
    "$latent" bench --family "$family" --device "$device" --runs "$runs" "${size[@]}" | tee "$family.txt"
    "$latent" bench --family "$family" --device "$device" --runs "$runs" "${size[@]}" --json >"$family.json"
done

echo "== diffusers in PyTorch, f16, eager: Stable Diffusion 1.5, 512x512"
if python3 -c 'import torch, diffusers, transformers; assert torch.cuda.is_available()' 2>/dev/null; then
    python3 "$here/peers/gpu_peer.py" --runs "$runs" >peer.json
else
    echo "SKIPPED: python3 has no torch with CUDA, diffusers and transformers"
    rm -f peer.json
fi
python3 "$here/peers/gpu_table.py" table sd15.json peer.json
