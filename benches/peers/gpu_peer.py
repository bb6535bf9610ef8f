"""Times diffusers in PyTorch on a GPU: f16, eager, on random weights of Stable Diffusion 1.5's shapes.

    pip install torch diffusers transformers
    python gpu_peer.py [--runs N] [--device cuda]

Prints JSON: the seconds of the median run of each stage, 512x512, as `latent bench --device gpu --json` has them.
"""
import argparse
import json
import statistics
import time

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

UNET = dict(
    sample_size=64,
    cross_attention_dim=768,
    attention_head_dim=8,
    block_out_channels=(320, 640, 1280, 1280),
)
VAE = dict(
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    block_out_channels=(128, 256, 512, 512),
    layers_per_block=2,
    latent_channels=4,
    sample_size=512,
)
TEXT = dict(
    vocab_size=49408,
    hidden_size=768,
    intermediate_size=3072,
    num_hidden_layers=12,
    num_attention_heads=12,
    max_position_embeddings=77,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    place = dict(device=args.device, dtype=torch.float16)

    def timed(forward):
        seconds = []
        for _ in range(args.runs + 2):
            torch.cuda.synchronize()
            start = time.perf_counter()
            # To main memory, as the other side is timed.
            forward().float().cpu()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds[2:])

    stages = {}
    with torch.inference_mode():
        text = CLIPTextModel(CLIPTextConfig(**TEXT)).to(**place)
        ids = torch.arange(154, device=args.device).reshape(2, 77)
        stages["text"] = timed(lambda: text(ids).last_hidden_state)
        del text
        unet = UNet2DConditionModel(**UNET).to(**place)
        latents, states = torch.randn(2, 4, 64, 64, **place), torch.randn(2, 77, 768, **place)

        def step():
            without, with_prompt = unet(latents, 500, states, return_dict=False)[0].chunk(2)
            return without + 7.0 * (with_prompt - without)

        stages["unet"] = timed(step)
        del unet
        vae = AutoencoderKL(**VAE).to(**place)
        latent = torch.randn(1, 4, 64, 64, **place)
        stages["vae"] = timed(lambda: vae.decode(latent, return_dict=False)[0])
    name = f"PyTorch {torch.__version__}, diffusers, f16, eager"
    print(json.dumps({"name": name, "device": torch.cuda.get_device_name(), "stages": stages}))


main()
