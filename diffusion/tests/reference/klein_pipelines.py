"""Goldens of Flux.2 klein (its VAE and whole pipelines), of skip-layer guidance and of real guidance beside a distilled one, made with
diffusers (float32, CPU) at tiny sizes.

    python3 klein_pipelines.py TOOLS CLIP_TOKENIZER_FOLDER T5_TOKENIZER_JSON QWEN3_TOKENIZER_JSON

TOOLS is the folder with `synth.py`, which makes the weights. Writes a manifest, `goldens/klein_pipelines.safetensors` and cases of the
groups `pipelines` and `vae/flux2` in `goldens/index.json`. Run `transformer_pipelines.py` first: its manifests are read.
"""
import gzip, json, os, sys, tempfile
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[1])
import synth
import torch
from diffusers import (AutoencoderKL, AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel,
                       FluxPipeline, FluxTransformer2DModel, SD3Transformer2DModel, StableDiffusion3Pipeline)
from PIL import Image
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, PreTrainedTokenizerFast
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3Model, T5Config, T5EncoderModel
import golden_index

FILE = "klein_pipelines.safetensors"
SEED, SIZE, PROMPT, NEGATIVE = 1234, (64, 96), "a red fox in the snow", "blurry"
KLEIN = "flux2-klein-pipeline"
TEMPLATE = ("{% for m in messages %}<|im_start|>{{m.role}}\n{{m.content}}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
            "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}")
torch.set_grad_enabled(False)
values, cases = {}, []


def unzipped(path):
    data = open(path, "rb").read()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def put(group, case, family, tensors, **info):
    for key, value in tensors.items():
        values[f"{case}/{key}"] = np.ascontiguousarray(value)
    cases.append({"group": group, "case": case, "file": FILE, "tensors": {key: list(value.shape) for key, value in tensors.items()},
                  "checkpoint": {"family": family, "scale": "tiny", "seed": SEED, "dtype": "f16"}, **info, "about": "see klein_pipelines.py"})


def pipeline(case, family, tensors, **params):
    put("pipelines", case, family, tensors, noise_from=[], tol={"latents_rel": 0.0001, "u8_max": 1},
        params={"kind": "txt2img", "family": family, "prompts": [PROMPT], "seed": 3, "size": list(SIZE), **params})


def u8(image):
    return ((image.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def noise(channels, factor, seed=3):
    shape = (1, channels, SIZE[0] // factor, SIZE[1] // factor)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def recorded(pipe, unpack, change=None, **arguments):
    """Latents after each step and at the end, and the time steps."""
    steps = []

    def keep(pipe, step, timestep, kwargs):
        if change:
            kwargs["latents"] = change(step, kwargs["latents"])
        steps.append(unpack(kwargs["latents"]).numpy().copy())
        return kwargs

    pipe.set_progress_bar_config(disable=True)
    pipe(**arguments, output_type="latent", callback_on_step_end=keep, callback_on_step_end_tensor_inputs=["latents"])
    timesteps = pipe.scheduler.timesteps.numpy().astype(np.float32)
    return {"timesteps": timesteps, "steps": np.stack(steps), "latents": steps[-1]}


# ------------------------------------------------------------------ Flux.2 klein
def source(name, shape):
    """Statistics of latents with values like those of a norm's weight: variances are above 0, and means are felt."""
    return {"src": name + ".weight", "src_shape": shape} if ".bn.running_" in name else {}


def klein_parts():
    network = Flux2Transformer2DModel(in_channels=128, num_layers=2, num_single_layers=2, attention_head_dim=32, num_attention_heads=2,
                                      joint_attention_dim=96, axes_dims_rope=(8, 8, 8, 8), guidance_embeds=False)
    vae = AutoencoderKLFlux2(block_out_channels=(32, 32, 64, 64), layers_per_block=1, latent_channels=32)
    text = Qwen3Model(Qwen3Config(vocab_size=151936, hidden_size=32, intermediate_size=64, num_hidden_layers=28, num_attention_heads=2,
                                  num_key_value_heads=1, head_dim=16, max_position_embeddings=40960, rms_norm_eps=1e-6,
                                  rope_parameters={"rope_type": "default", "rope_theta": 1e6}, use_cache=False))
    parts = {"transformer.": network.eval(), "vae.": vae.eval(), "text_encoder.model.": text.eval()}
    entries = []
    for prefix, model in parts.items():
        weights = {}
        for name, value in model.state_dict().items():
            shape = list(value.shape)
            if name.endswith("num_batches_tracked"):
                entries.append({"name": prefix + name, "dtype": "I64", "shape": shape, "fixed": "arange"})
                continue
            entry = {"name": prefix + name, "dtype": "W", "shape": shape, **source(prefix + name, shape)}
            weights[name] = torch.from_numpy(synth.tensor(entry.get("src", prefix + name), SEED, shape))
            entries.append(entry)
        model.load_state_dict(weights, strict=False)
    with open(os.path.join(HERE, "manifests", f"{KLEIN}-tiny-single.json"), "w") as f:
        f.write(json.dumps({"family": KLEIN, "scale": "tiny", "layout": "single"})[:-1])
        rows = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in sorted(entries, key=lambda entry: entry["name"]))
        f.write(f',\n"files": {{\n"{KLEIN}.safetensors": [\n{rows}\n]\n}}}}\n')
    return network, vae, text


def qwen3_tokenizer(path):
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "tokenizer.json")
        open(file, "wb").write(unzipped(path))
        tokenizer = Qwen2TokenizerFast(tokenizer_file=file, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def statistics(vae):
    mean, variance = vae.bn.running_mean.view(1, -1, 1, 1), vae.bn.running_var.view(1, -1, 1, 1)
    return mean, torch.sqrt(variance + vae.config.batch_norm_eps)


def decoded(vae, latents):
    mean, deviation = statistics(vae)
    return vae.decode(Flux2KleinPipeline._unpatchify_latents(latents * deviation + mean)).sample


def image(seed, size):
    """Soft blots of colours."""
    small = np.random.default_rng(seed).integers(0, 256, (size[0] // 16, size[1] // 16, 3), np.uint8)
    return np.array(Image.fromarray(small).resize((size[1], size[0]), Image.BICUBIC))


def pixels(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1


def klein_vae(vae):
    patchify = Flux2KleinPipeline._patchify_latents
    for i, size in enumerate([(64, 96), (48, 32)]):
        picture = pixels(image(40 + i, size))
        found = vae.encode(picture).latent_dist
        mean, deviation = statistics(vae)
        mode = (patchify(found.mode()) - mean) / deviation
        mean, spread = found.parameters.chunk(2, dim=1)
        latent = torch.from_numpy(np.random.default_rng(700 + i).standard_normal(mode.shape).astype(np.float32))
        out = decoded(vae, latent)
        put("vae/flux2", f"flux2-vae{i}", KLEIN,
            {"image": picture.numpy(), "moments": torch.cat([patchify(mean), patchify(spread)], dim=1).numpy(), "mode": mode.numpy(),
             "latent": latent.numpy(), "decoded": out.numpy(), "decoded_u8": u8(out)}, tol={"abs": 0.0001, "rel": 0.0001})


def klein(qwen3_path):
    network, vae, text = klein_parts()
    klein_vae(vae)
    tokenizer = qwen3_tokenizer(qwen3_path)
    rows, columns = SIZE[0] // 16, SIZE[1] // 16
    unpack = lambda x: x.reshape(1, rows, columns, 128).permute(0, 3, 1, 2)

    def run(is_distilled, steps, guidance, start, **more):
        scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, shift=3.0)
        pipe = Flux2KleinPipeline(scheduler, vae, text, tokenizer, network, is_distilled=is_distilled)
        tensors = recorded(pipe, unpack, prompt=PROMPT, num_inference_steps=steps, guidance_scale=guidance, height=SIZE[0], width=SIZE[1],
                           latents=start, **more)
        return tensors | {"output_u8": u8(decoded(vae, torch.from_numpy(tensors["latents"])))}

    start = noise(128, 16)
    for case, is_distilled, steps, guidance in [("txt2img", True, 4, 1.0), ("base-txt2img", False, 5, 4.0)]:
        tensors = run(is_distilled, steps, guidance, start)
        pipeline(f"{KLEIN}-{case}", KLEIN, {"init_latents": start.numpy(), **tensors}, scheduler="flow-simple", steps=steps,
                 guidance=guidance)

    # An image that part of the steps is run on: the pipeline from noisy latents, with the levels of those steps. Levels are shifted by the
    # number of all steps, which the pipeline is told.
    steps, strength = 5, 0.6
    picture = image(50, SIZE)
    clean = Flux2KleinPipeline._patchify_latents(vae.encode(pixels(picture)).latent_dist.mode())
    mean, deviation = statistics(vae)
    clean = (clean - mean) / deviation
    sigmas = np.linspace(1.0, 1 / steps, steps)[2:]
    levels = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
    levels.set_timesteps(sigmas=sigmas, mu=compute_empirical_mu(rows * columns, steps))
    at = lambda sigma: (1 - sigma) * clean + sigma * start
    tensors = run(True, steps, 1.0, at(levels.sigmas[0]), sigmas=sigmas)
    info = dict(scheduler="flow-simple", steps=steps, guidance=1.0, strength=strength)
    pipeline(f"{KLEIN}-img2img", KLEIN, {"image_u8": picture, **tensors}, **info, kind="img2img")

    # What the mask keeps is put back after each step.
    mask = np.zeros(SIZE, np.uint8)
    mask[16:48, 32:80] = 255
    drawn = torch.from_numpy((mask[::16, ::16] > 0).astype(np.float32))[None, None]
    pack = lambda x: x.reshape(1, 128, rows * columns).permute(0, 2, 1)
    keep = lambda step, x: pack(drawn * unpack(x) + (1 - drawn) * at(levels.sigmas[step + 1]))
    tensors = run(True, steps, 1.0, at(levels.sigmas[0]), sigmas=sigmas, change=keep)
    pipeline(f"{KLEIN}-inpaint", KLEIN, {"image_u8": picture, "mask_u8": mask, **tensors}, **info, kind="inpaint")

    # An image that the prediction refers to.
    tensors = run(True, 4, 1.0, start, image=Image.fromarray(picture))
    pipeline(f"{KLEIN}-edit", KLEIN, {"image_u8": picture, **tensors}, scheduler="flow-simple", steps=4,
             guidance=1.0, kind="edit")


# ------------------------------------------------------------------ guidance
def clip(kind, width, activation):
    return kind(CLIPTextConfig(hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=width // 64,
                               projection_dim=width, vocab_size=49408, hidden_act=activation, bos_token_id=49406, eos_token_id=49407,
                               pad_token_id=1)).eval()


def t5():
    return T5EncoderModel(T5Config(vocab_size=32128, d_model=256, d_kv=16, num_heads=4, d_ff=96, num_layers=2, dropout_rate=0.0,
                                   feed_forward_proj="gated-gelu", is_encoder_decoder=False)).eval()


def vae(scale, shift):
    return AutoencoderKL(in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 4,
                         up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(32, 32, 64, 64), layers_per_block=1,
                         latent_channels=16, norm_num_groups=32, scaling_factor=scale, shift_factor=shift, use_quant_conv=False,
                         use_post_quant_conv=False).eval()


def loaded(family, parts):
    """Gives the parts the weights of the file of an existing manifest."""
    manifest = json.load(open(os.path.join(HERE, "manifests", f"{family}-tiny-single.json")))
    entries = [entry for file in manifest["files"].values() for entry in file]
    for prefix, model in parts.items():
        mine = [entry for entry in entries if entry["name"].startswith(prefix)]
        weights = {entry["name"].removeprefix(prefix): torch.from_numpy(
            synth.tensor(entry.get("src", entry["name"]), SEED, entry.get("src_shape", entry["shape"]))) for entry in mine}
        if "shared.weight" in weights:
            weights["encoder.embed_tokens.weight"] = weights["shared.weight"]
        result = model.load_state_dict(weights, strict=False)
        assert not result.unexpected_keys and all(key.endswith("position_ids") for key in result.missing_keys), (prefix, result)


def with_image(pipe, tensors):
    config = pipe.vae.config
    latents = torch.from_numpy(tensors["latents"])
    return tensors | {"output_u8": u8(pipe.vae.decode(latents / config.scaling_factor + config.shift_factor).sample)}


def skip_layers(first, second, large):
    network = SD3Transformer2DModel(sample_size=32, patch_size=2, in_channels=16, num_layers=3, attention_head_dim=32,
                                    num_attention_heads=2, joint_attention_dim=256, caption_projection_dim=64,
                                    pooled_projection_dim=192, out_channels=16, pos_embed_max_size=24, dual_attention_layers=(0, 1),
                                    qk_norm="rms_norm").eval()
    parts = {"transformer.": network, "vae.": vae(1.5305, 0.0609), "text_encoder.": clip(CLIPTextModelWithProjection, 64, "quick_gelu"),
             "text_encoder_2.": clip(CLIPTextModelWithProjection, 128, "gelu"), "text_encoder_3.": t5()}
    loaded("sd35-pipeline", parts)
    pipe = StableDiffusion3Pipeline(network, FlowMatchEulerDiscreteScheduler(shift=3.0), parts["vae."], parts["text_encoder."], first,
                                    parts["text_encoder_2."], second, parts["text_encoder_3."], large)
    skip = dict(slg_layers=[0, 1], slg_scale=2.8, slg_start=0.01, slg_end=0.5)
    tensors = recorded(pipe, lambda x: x, prompt=PROMPT, negative_prompt=NEGATIVE, num_inference_steps=5, guidance_scale=4.5,
                       height=SIZE[0], width=SIZE[1], latents=noise(16, 8), skip_guidance_layers=skip["slg_layers"],
                       skip_layer_guidance_scale=skip["slg_scale"], skip_layer_guidance_start=skip["slg_start"],
                       skip_layer_guidance_stop=skip["slg_end"])
    pipeline("sd35-pipeline-slg-txt2img", "sd35-pipeline", {"init_latents": noise(16, 8).numpy(), **with_image(pipe, tensors)},
             scheduler="flow-euler", steps=5, guidance=4.5, negative=NEGATIVE, **skip)


def true_guidance(first, large):
    network = FluxTransformer2DModel(patch_size=1, in_channels=64, num_layers=2, num_single_layers=2, attention_head_dim=32,
                                     num_attention_heads=2, joint_attention_dim=256, pooled_projection_dim=64, guidance_embeds=True,
                                     axes_dims_rope=(4, 14, 14)).eval()
    parts = {"transformer.": network, "vae.": vae(0.3611, 0.1159), "text_encoder.": clip(CLIPTextModel, 64, "quick_gelu"),
             "text_encoder_2.": t5()}
    loaded("flux-pipeline", parts)
    schedule = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, shift=3.0)
    pipe = FluxPipeline(schedule, parts["vae."], parts["text_encoder."], first, parts["text_encoder_2."], large, network)
    packed = FluxPipeline._pack_latents(noise(16, 8), 1, 16, SIZE[0] // 8, SIZE[1] // 8)
    tensors = recorded(pipe, lambda x: FluxPipeline._unpack_latents(x, SIZE[0], SIZE[1], 8), prompt=PROMPT, negative_prompt=NEGATIVE,
                       num_inference_steps=5, guidance_scale=3.5, true_cfg_scale=2.5, height=SIZE[0], width=SIZE[1], latents=packed,
                       max_sequence_length=512)
    pipeline("flux-pipeline-true-cfg-txt2img", "flux-pipeline", {"init_latents": noise(16, 8).numpy(), **with_image(pipe, tensors)},
             scheduler="flow-simple", steps=5, guidance=2.5, distilled_guidance=3.5, negative=NEGATIVE)


def main(clip_folder, t5_path, qwen3_path):
    large = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_buffer(unzipped(t5_path)), eos_token="</s>", unk_token="<unk>",
                                    pad_token="<pad>", model_max_length=512)
    first, second = CLIPTokenizer.from_pretrained(clip_folder), CLIPTokenizer.from_pretrained(clip_folder)
    second.pad_token = "!"
    klein(qwen3_path)
    skip_layers(first, second, large)
    true_guidance(first, large)
    save_file(values, os.path.join(HERE, "goldens", FILE))
    golden_index.put(FILE, cases)
    golden_index.list_in_spec("klein_pipelines.py", cases)


main(*sys.argv[2:])
