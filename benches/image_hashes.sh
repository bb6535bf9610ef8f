#!/usr/bin/env bash
# Draws images over all commands, samplers, model families and instruction sets, and prints the SHA-256 of each file:
#
#     benches/image_hashes.sh OLD_LATENT > old.txt; benches/image_hashes.sh NEW_LATENT > new.txt; diff old.txt new.txt
#
# The files hold their settings too, so equal hashes mean equal pixels and equal metadata. Synthetic checkpoints are
# written first; SYNTH names the example that does it [default: target/debug/examples/synth].
set -euo pipefail
latent=$(realpath "$1")
root=$(cd "$(dirname "$0")/.." && pwd)
synth=$(realpath "${SYNTH:-$root/target/debug/examples/synth}")
manifests=$root/diffusion/tests/reference/manifests
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

make_model() { "$synth" "$manifests/$1.json" 7 "${3:-f16}" "$2" >/dev/null; }
make_model sd15-tiny-single sd15.safetensors
make_model sd15-tiny-single sd15-bf16.safetensors bf16
make_model sd15-tiny-diffusers sd15-folder
make_model sd15-inpaint-tiny-single inpaint.safetensors
make_model sd15-pix2pix-tiny-single pix2pix.safetensors
make_model sd21-tiny-single sd21.safetensors
make_model sd21-v-tiny-single sd21-v.safetensors
make_model sdxl-tiny-single sdxl.safetensors
make_model sdxl-inpaint-tiny-single sdxl-inpaint.safetensors
make_model sdxl-refiner-tiny-single refiner.safetensors
make_model controlnet-sd15-tiny-single control.safetensors
make_model lora-sd15-kohya-tiny-single lora.safetensors
make_model taesd-tiny-single taesd.safetensors
make_model ti-sd15-tiny-single word.safetensors

# Images of the demo model are compared as they are drawn; programs of before have no upscaler for them.
raw=
if "$latent" txt2img --help | grep -q -e --raw-size; then raw=--raw-size; fi

# draw NAME COMMAND [ARGUMENT ...]
draw() {
    local name=$1 command=$2 flags=
    shift 2
    [[ $command == replay ]] || flags=$raw
    if ! LATENT_DEVICE=cpu "$latent" "$command" $flags "$@" -o "$name.png" >"$name.log" 2>&1; then
        printf 'failed: %s: %s\n' "$name" "$(tail -n 1 "$name.log")"
        return
    fi
    printf '%s  %s\n' "$(sha256sum "$name.png" | cut -d' ' -f1)" "$name"
}

# The demo model with every sampler.
samplers="ddim ddpm deis dpm2 dpm2_a dpm++2m dpm++2m_sde dpm++2m_sde_heun dpm++2s dpm++2s_a dpm++3m_sde dpm++_sde er_sde euler euler_a heun ipndm lcm lms plms res_multistep tcd unipc"
for sampler in $samplers; do
    draw "sampler-${sampler//+/p}" txt2img "a red apple" -s 5 --steps 6 --sampler "$sampler"
done
for scheduler in karras exponential polyexponential sgm_uniform simple beta normal ddim kl_optimal align_your_steps; do
    draw "scheduler-$scheduler" txt2img "a yellow star" -s 6 --steps 6 --sampler euler --scheduler "$scheduler"
done
draw scheduler-trailing txt2img "a yellow star" -s 6 --steps 6 --sampler euler --scheduler trailing --compat diffusers
# Instruction sets and threads.
for isa in scalar avx2 avx512; do
    LATENT_ISA=$isa draw "isa-$isa" txt2img "a red heart" -s 3 --steps 4
done
LATENT_CONV=direct draw conv-direct txt2img "a red heart" -s 3 --steps 4
draw threads-1 txt2img "a red heart" -s 3 --steps 4 -t 1
draw low-memory txt2img "a red heart" -s 3 --steps 4 --low-memory
# Prompts, batches, previews and the rest of the settings.
draw prompts txt2img "(a cat:1.2) AND [day:night:0.5] [a|b] BREAK hat" -n "dog" -s 1 --steps 6
draw batch txt2img "a cloud" -s 1 --steps 4 -b 3 --batch-size 2 --grid
printf '%s  %s\n' "$(sha256sum batch_2.png | cut -d' ' -f1)" batch_2 "$(sha256sum batch-grid.png | cut -d' ' -f1)" batch-grid
draw settings txt2img "a cloud" -s 1 --steps 6 --cfg-scale 5 --cfg-rescale 0.5 --cfg-end 0.6 --cache 2 --clip-skip 2 --rng cpu --eta 0.5 --sampler euler_a
draw diffusers txt2img "a cloud" -s 1 --steps 6 --compat diffusers --rng cpu
draw hires txt2img "a cloud" -s 1 --steps 4 --hires --hires-scale 2
draw hires-pixels txt2img "a cloud" -s 1 --steps 4 --hires --hires-scale 1.5 --hires-upscaler lanczos
# Every command, with the demo model.
draw img2img img2img threads-1.png "a red apple" --strength 0.7 -s 2 --steps 6
cp "$root"/docs/*/hole.png hole.png
draw inpaint inpaint hole.png "a red apple" -s 1 --steps 6
draw inpaint-masked inpaint hole.png "a red apple" -s 1 --steps 6 --only-masked --padding 8 --strength 0.8
draw outpaint outpaint threads-1.png "a red heart" --right 64 -s 2 --steps 6
draw grid grid "a red heart" --x steps=2,3 --y sampler=euler,ddim -s 3
draw replay replay prompts.png
draw metadata-of-hires replay hires.png
# Families and layouts, and what is added to them.
small="-W 64 -H 64 --steps 2 -s 1"
for model in sd15 sd15-bf16 sd21 sd21-v sdxl refiner inpaint sdxl-inpaint; do
    draw "model-$model" txt2img "a cat" -m "$model.safetensors" $small
done
draw model-folder txt2img "a cat" -m sd15-folder $small
draw edit edit threads-1.png "make it winter" -m pix2pix.safetensors --steps 2 -s 1
draw inpaint-model inpaint hole.png "a cat" -m inpaint.safetensors --steps 2 -s 1
draw refined txt2img "a cat" -m sdxl.safetensors --refiner refiner.safetensors --refiner-start 0.5 $small
draw lora txt2img "a cat" -m sd15.safetensors --lora lora.safetensors:0.7 $small
draw lora-tag txt2img "a cat <lora:lora:0.5>" -m sd15.safetensors $small
draw control txt2img "a cat" -m sd15.safetensors --control-net control.safetensors --control-image threads-1.png --control-preprocess canny $small
draw taesd txt2img "a cat" -m sd15.safetensors --taesd taesd.safetensors $small
draw embedding txt2img "a word cat" -m sd15.safetensors --embedding word.safetensors $small
"$latent" convert sd15.safetensors q8.safetensors --dtype q8_0 >convert.log 2>&1 || "$latent" convert sd15.safetensors q8.safetensors --type q8_0 >convert.log 2>&1 || cat convert.log
draw q8_0 txt2img "a cat" -m q8.safetensors $small
