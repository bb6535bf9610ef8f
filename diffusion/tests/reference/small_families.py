"""Goldens of the small families, made with diffusers: UNets with fewer layers, and models with the noise levels of EDM.

    python3 small_families.py manifests
    cargo run -p latent-benches --example synth -- ...      (each manifest, seed 1234, f16; see benches/examples/synth.rs)
    python3 small_families.py goldens FOLDER                (the folder with those files, <family>.safetensors)

`manifests` writes those of the UNets, with the names that the conversion script of diffusers gives them: it numbers blocks as if
each level had two layers. `goldens` writes goldens/small_families.safetensors and its cases in goldens/index.json. The EDM models
have the tensors of `sdxl`, and marks without values.
"""
import json, os, struct, sys
import numpy as np
import golden_index

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = "small_families.safetensors"
SEED = 1234
CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
UNETS = {
    # nota-ai/bk-sdm-small, segmind/small-sd
    "bksdm-small": dict(block_out_channels=(32, 64, 128, 128), down=(CROSS, CROSS, CROSS, PLAIN), ctx=128, heads=8),
    # nota-ai/bk-sdm-tiny, segmind/tiny-sd
    "bksdm-tiny": dict(block_out_channels=(32, 64, 128), down=(CROSS, CROSS, CROSS), ctx=128, heads=8),
    # nota-ai/bk-sdm-v2-small
    "bksdm-v2-small": dict(block_out_channels=(64, 128, 128, 128), down=(CROSS, CROSS, CROSS, PLAIN), ctx=160,
                           heads=(1, 2, 2, 2), linear=True),
    # IDKiro/sdxs-512-dreamshaper
    "sdxs-ds": dict(block_out_channels=(32, 64, 128), down=(PLAIN, CROSS, CROSS), ctx=128, heads=8),
    # IDKiro/sdxs-512-0.9: the finest attentions read the text alone
    "sdxs-09": dict(block_out_channels=(64, 128, 256), down=(CROSS, CROSS, CROSS), ctx=160, heads=(1, 2, 4), linear=True,
                    only=(True, False, False)),
}


def unet(c):
    from diffusers import UNet2DConditionModel
    up = tuple(name.replace("Down", "Up") for name in reversed(c["down"]))
    return UNet2DConditionModel(
        sample_size=64, block_out_channels=c["block_out_channels"], layers_per_block=1, down_block_types=c["down"],
        up_block_types=up, mid_block_type=None, cross_attention_dim=c["ctx"], attention_head_dim=c["heads"],
        use_linear_projection=c.get("linear", False), only_cross_attention=c.get("only", False)).eval()


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
TOP = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0",
       "time_embedding.linear_2": "time_embed.2"}


def in_file(name):
    """The name in a single file."""
    for top, old in TOP.items():
        if name.startswith(top + "."):
            return "model.diffusion_model." + old + name[len(top):]
    side, level, kind, layer, rest = name.split(".", 4)
    block = 3 * int(level) + int(layer)
    if kind == "downsamplers":
        return f"model.diffusion_model.input_blocks.{3 * (int(level) + 1)}.0.op.{rest.split('.')[1]}"
    if kind == "upsamplers":
        return f"model.diffusion_model.output_blocks.{3 * int(level) + 2}.{1 if level == '0' else 2}.conv.{rest.split('.')[1]}"
    old = f"input_blocks.{block + 1}" if side == "down_blocks" else f"output_blocks.{block}"
    if kind == "resnets":
        layer, leaf = rest.rsplit(".", 1)
        return f"model.diffusion_model.{old}.0.{RESNET[layer]}.{leaf}"
    return f"model.diffusion_model.{old}.1.{rest}"


def manifests():
    folder = os.path.join(HERE, "manifests")
    base = json.load(open(os.path.join(folder, "sd15-tiny-single.json")))["files"]["sd15.safetensors"]
    vae = [e for e in base if e["name"].startswith(("first_stage_model.decoder.", "first_stage_model.post_quant"))]
    whole = json.load(open(os.path.join(folder, "sd15-full-single.json")))["files"]["sd15.safetensors"]
    rest = [e for e in whole if not e["name"].startswith("model.diffusion_model.")]
    full = dict(UNETS["sdxs-ds"], block_out_channels=(320, 640, 1280), ctx=768)
    for family, scale, c, others in [*((name, "tiny", c, vae) for name, c in UNETS.items()), ("sdxs", "full", full, rest)]:
        state = unet(c).state_dict()
        entries = [{"name": in_file(k), "dtype": "W", "shape": list(v.shape)} for k, v in state.items()] + others
        entries.sort(key=lambda e: e["name"])
        with open(os.path.join(folder, f"{family}-{scale}-single.json"), "w") as f:
            f.write(json.dumps({"family": family, "scale": scale, "layout": "single"})[:-1])
            rows = ",\n".join(json.dumps(e, separators=(",", ":")) for e in entries)
            f.write(f',\n"files": {{\n"{family}.safetensors": [\n{rows}\n]\n}}}}\n')


def key(family):
    return {"family": family, "scale": "tiny", "seed": SEED, "dtype": "f16"}


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def unet_goldens(folder):
    import torch
    from safetensors.torch import load_file
    torch.set_grad_enabled(False)
    for family, c in UNETS.items():
        model = unet(c)
        state = load_file(os.path.join(folder, f"{family}.safetensors"))
        model.load_state_dict({k: state[in_file(k)].float() for k in model.state_dict()})
        # Sides that halve evenly and that do not.
        for j, (n, h, w, times) in enumerate([(1, 8, 8, [981.0]), (2, 8, 16, [1.0, 500.0]), (1, 12, 8, [250.0])]):
            x, text = random(900 + j, n, 4, h, w), random(950 + j, n, 77, c["ctx"])
            out = model(torch.from_numpy(x), torch.tensor(times), encoder_hidden_states=torch.from_numpy(text)).sample
            tensors = {"x": x, "t": np.array(times, np.float32), "context": text, "out": out.numpy()}
            yield f"unet/{family}", f"{family}-{j}", tensors, {"checkpoint": key(family), "tol": {"abs": 2e-4, "rel": 2e-4}}


EDM = {
    "playground": dict(data=0.5, prediction="epsilon", high=80.0),
    "cosxl": dict(data=1.0, prediction="v_prediction", high=120.0),
}
PLAYGROUND = ([-1.6574, 1.886, -1.383, 2.5155], [8.4927, 5.9022, 6.5498, 5.2299])


def edm_goldens():
    """Needs the module `make_goldens` of the reference data, which builds the tiny SDXL."""
    import torch
    import diffusers
    import make_goldens as reference
    torch.set_grad_enabled(False)
    models = reference.Models("sdxl", SEED)
    for family, e in EDM.items():
        for scheduler in ("edm-euler", "edm-dpmpp-2m"):
            cls = diffusers.EDMEulerScheduler if scheduler == "edm-euler" else diffusers.EDMDPMSolverMultistepScheduler
            schedule = cls(sigma_min=0.002, sigma_max=e["high"], sigma_data=e["data"], prediction_type=e["prediction"])
            pipe = diffusers.StableDiffusionXLPipeline(
                vae=models.vae, unet=models.unet, scheduler=schedule, text_encoder=models.text(0), tokenizer=reference.tokenizer(),
                text_encoder_2=models.text(1), tokenizer_2=reference.tokenizer("!"), add_watermarker=False)
            pipe.set_progress_bar_config(disable=True)
            params = {"kind": "txt2img", "family": family, "scheduler": scheduler, "steps": 6, "guidance": 3.0,
                      "prompts": ["a red fox in the snow"], "negative": "blurry", "seed": 3, "latents_seed": 77, "size": [64, 64]}
            latents, steps = torch.from_numpy(random(77, 1, 4, 8, 8)), []

            def keep(pipe_, i, t, values):
                steps.append(values["latents"].clone())
                return values
            lat = pipe(prompt=params["prompts"], negative_prompt=[params["negative"]], num_inference_steps=6, guidance_scale=3.0,
                       height=64, width=64, latents=latents.clone(), output_type="latent", callback_on_step_end=keep).images
            if family == "playground":
                mean, deviation = (torch.tensor(values).view(1, 4, 1, 1) for values in PLAYGROUND)
                raw = lat * deviation / 0.5 + mean
            else:
                raw = lat / models.vae.config.scaling_factor
            image = models.vae.decode(raw).sample
            bytes_ = ((image / 2 + .5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
            tensors = {"init_latents": latents.numpy(), "timesteps": schedule.timesteps.float().numpy(),
                       "steps": torch.stack(steps).numpy(), "latents": lat.numpy(), "output_u8": bytes_.numpy()}
            print(family, scheduler, "std", float(lat.std()), float(image.std()))
            yield "pipelines", f"{family}-{scheduler}", tensors, {
                "checkpoint": key(family), "params": params, "noise_from": [], "tol": {"latents_rel": 1e-3, "u8_max": 2}}


def goldens(folder):
    header, data, cases, at = {}, [], [], 0
    for group, case, tensors, info in [*unet_goldens(folder), *edm_goldens()]:
        for name, values in tensors.items():
            raw = np.ascontiguousarray(values).tobytes()
            dtype = {"float32": "F32", "uint8": "U8"}[str(values.dtype)]
            header[f"{case}/{name}"] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [at, at + len(raw)]}
            data.append(raw)
            at += len(raw)
        cases.append({"group": group, "case": case, "file": FILE,
                      "tensors": {name: list(values.shape) for name, values in tensors.items()}, **info,
                      "about": "see small_families.py"})
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(HERE, "goldens", FILE), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))
    golden_index.put(FILE, cases)


if __name__ == "__main__":
    manifests() if sys.argv[1] == "manifests" else goldens(sys.argv[2])
