"""Goldens of whole pipelines of transformer families, made with diffusers (float32, CPU) at tiny sizes: Stable Diffusion 3.5, Flux.1 with
Fill and Kontext, Chroma and Z-Image, from text, from images and under masks.

    python3 transformer_pipelines.py TOOLS CLIP_TOKENIZER_FOLDER T5_TOKENIZER_JSON QWEN3_TOKENIZER_JSON

TOOLS is the folder with `synth.py`, `make_checkpoint.py` and `layouts.py`, which make the weights. Writes `manifests/`,
`goldens/transformer_pipelines.safetensors`, cases of the group `pipelines` in `goldens/index.json` and their names in `spec.json`.

Some files have the names of diffusers, the others those of original files, with the prefixes of ComfyUI's files that hold all parts.
"""
import gzip, json, os, sys
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[1])
import layouts as vae_layouts
import make_checkpoint as mc
import synth
import torch
from diffusers import (AutoencoderKL, ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler, FluxFillPipeline,
                       FluxImg2ImgPipeline, FluxInpaintPipeline, FluxKontextPipeline, FluxPipeline, FluxTransformer2DModel,
                       SD3Transformer2DModel, StableDiffusion3Img2ImgPipeline, StableDiffusion3InpaintPipeline,
                       StableDiffusion3Pipeline, ZImagePipeline, ZImageTransformer2DModel)
from PIL import Image
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, T5Config, T5EncoderModel
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model
from transformer_names import Chroma, Flux, Sd3, ZImage, layouts, swapped
import golden_index

SCRIPT, FILE = "transformer_pipelines.py", "transformer_pipelines.safetensors"
SEED, SIZE, SQUARE, PROMPT, NEGATIVE = 1234, (64, 96), (64, 64), "a red fox in the snow", "blurry"
STEPS, NOISE_SEED = 5, 3
MODEL = "model.diffusion_model."
CLIP_L, T5, QWEN3 = "text_encoders.clip_l.transformer.", "text_encoders.t5xxl.transformer.", "text_encoders.qwen3_4b.transformer.model."
# A message of a user, to which an answer begins.
CHAT = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
torch.set_grad_enabled(False)
values, cases = {}, []


# ------------------------------------------------------------------ parts
def clip(kind, width, activation):
    return kind(CLIPTextConfig(hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=width // 64,
                               projection_dim=width, vocab_size=49408, hidden_act=activation, bos_token_id=49406, eos_token_id=49407,
                               pad_token_id=1)).eval()


def t5(width):
    return T5EncoderModel(T5Config(vocab_size=32128, d_model=width, d_kv=16, num_heads=4, d_ff=96, num_layers=2, dropout_rate=0.0,
                                   feed_forward_proj="gated-gelu", is_encoder_decoder=False)).eval()


def qwen3(width):
    return Qwen3Model(Qwen3Config(vocab_size=151936, hidden_size=width, intermediate_size=112, num_hidden_layers=3,
                                  num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=40960,
                                  rms_norm_eps=1e-6, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
                                  use_cache=False)).eval()


VAE = dict(ch=32, mult=[1, 1, 2, 2], nrb=1, z=16)


def vae(scale, shift):
    return AutoencoderKL(in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 4,
                         up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(32, 32, 64, 64), layers_per_block=1,
                         latent_channels=16, norm_num_groups=32, scaling_factor=scale, shift_factor=shift, use_quant_conv=False,
                         use_post_quant_conv=False).eval()


def sd3_network(text=256):
    return SD3Transformer2DModel(sample_size=32, patch_size=2, in_channels=16, num_layers=3, attention_head_dim=32,
                                 num_attention_heads=2, joint_attention_dim=text, caption_projection_dim=64, pooled_projection_dim=192,
                                 out_channels=16, pos_embed_max_size=24, dual_attention_layers=(0, 1), qk_norm="rms_norm").eval()


TINY_FLUX = dict(patch_size=1, in_channels=64, num_layers=2, num_single_layers=2, attention_head_dim=32, num_attention_heads=2,
                 axes_dims_rope=(4, 14, 14))


def flux_network(guided, text=256, **more):
    sizes = TINY_FLUX | dict(joint_attention_dim=text, pooled_projection_dim=64, guidance_embeds=guided) | more
    return FluxTransformer2DModel(**sizes).eval()


def tokenizer(path, **tokens):
    data = open(path, "rb").read()
    backend = Tokenizer.from_buffer(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **tokens)


# ------------------------------------------------------------------ files
def written(family, entries):
    entries.sort(key=lambda entry: entry["name"])
    with open(os.path.join(HERE, "manifests", f"{family}-tiny-single.json"), "w") as f:
        f.write(json.dumps({"family": family, "scale": "tiny", "layout": "single"})[:-1])
        rows = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
        f.write(f',\n"files": {{\n"{family}.safetensors": [\n{rows}\n]\n}}}}\n')


def plain(prefix, model):
    """Fills a part whose names in the file are its own below a prefix; its entries."""
    drop = {"encoder.embed_tokens.weight": "shared.weight"}
    state = {name: value for name, value in model.state_dict().items() if name not in drop and not name.endswith("position_ids")}
    weights = {name: torch.from_numpy(synth.tensor(prefix + name, SEED, list(value.shape))) for name, value in state.items()}
    weights |= {name: weights[of] for name, of in drop.items() if name in model.state_dict()}
    model.load_state_dict(weights, strict=False)
    return [{"name": prefix + name, "dtype": "W", "shape": list(value.shape)} for name, value in state.items()]


def filled(family, parts):
    """Gives the parts the weights of one file with the names of diffusers, whose manifest is written."""
    written(family, [entry for prefix, model in parts.items() for entry in plain(prefix, model)])


def below(prefix, entries):
    return [entry | {key: prefix + entry[key] for key in ("name", "src") if key in entry} for entry in entries]


def original(prefix, model, single, folder):
    """Fills a part that has other names in original files; its entries, below a prefix."""
    folder = [entry | {"src": prefix + entry["src"]} for entry in folder]
    state = mc.state_dict([{k: v for k, v in e.items() if k != "op"} for e in folder], SEED, "F16")
    state = swapped(folder, state)
    model.load_state_dict(state)
    return below(prefix, single)


def original_vae(prefix, model):
    own = "first_stage_model."
    single = [dict(e, name=e["name"].removeprefix(own)) for e in vae_layouts.vae_original(VAE, own) if "quant_conv" not in e["name"]]
    folder = [dict(e, src=e["src"].removeprefix(own)) for e in vae_layouts.vae_diffusers(VAE) if "quant_conv" not in e["name"]]
    return original(prefix, model, single, folder)


def comfy(family, network, names, decoder, vae_prefix, texts):
    """Gives the parts the weights of one file as ComfyUI's are, whose manifest is written."""
    entries = original(MODEL, network, *layouts(names, network)) + original_vae(vae_prefix, decoder)
    written(family, entries + [entry for prefix, model in texts.items() for entry in plain(prefix, model)])


# ------------------------------------------------------------------ cases
def noise(size):
    shape = (1, 16, size[0] // 8, size[1] // 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(NOISE_SEED))


def pictures(size):
    """An image, and a mask with an edge that no element of a latent has, and values between."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 9 + c) * np.cos(y / 7 - c) for c in range(3)]
    image = ((np.stack(waves, -1) + 1) * 127.5).round().astype(np.uint8)
    mask = np.where((x - width / 2) ** 2 + (y - height / 3) ** 2 < 400, 255, 0).astype(np.uint8)
    mask[5:20, 3:15], mask[40:50, 30:60] = 100, 200
    return image, mask


def put(family, name, params, tensors, size=SIZE):
    for key, value in tensors.items():
        values[f"{name}/{key}"] = np.ascontiguousarray(value)
    print(name, "std", tensors["latents"].std(), tensors["output_u8"].std())
    cases.append({"group": "pipelines", "case": name, "file": FILE,
                  "tensors": {key: list(value.shape) for key, value in tensors.items()},
                  "checkpoint": {"family": family, "scale": "tiny", "seed": SEED, "dtype": "f16"},
                  "params": {"kind": "txt2img", "family": family, "prompts": [PROMPT], "seed": NOISE_SEED, "size": list(size),
                             "steps": STEPS, **params},
                  "noise_from": [], "tol": {"latents_rel": 0.001, "u8_max": 2}, "about": f"see {SCRIPT}"})


def u8(image):
    return ((image.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def same(x):
    return x


def unpacked(size):
    return lambda x: FluxPipeline._unpack_latents(x, *size, 8)


def run(pipe, unpack, size=SIZE, **arguments):
    """Latents after each step and at the end, and the image."""
    steps = []

    def keep(pipe, step, timestep, kwargs):
        steps.append(unpack(kwargs["latents"]).numpy().copy())
        return kwargs

    pipe.set_progress_bar_config(disable=True)
    out = pipe(**arguments, num_inference_steps=STEPS, height=size[0], width=size[1], output_type="latent", callback_on_step_end=keep,
               callback_on_step_end_tensor_inputs=["latents"]).images
    latents = unpack(out)
    config = pipe.vae.config
    image = pipe.vae.decode(latents / config.scaling_factor + config.shift_factor).sample
    return {"timesteps": pipe.scheduler.timesteps.numpy().astype(np.float32), "steps": np.stack(steps), "latents": latents.numpy(),
            "output_u8": u8(image)}


def from_text(family, pipe, params, size=SIZE, name="txt2img", unpack=same, pack=same, **arguments):
    tensors = run(pipe, unpack, size, latents=pack(noise(size)), **arguments)
    put(family, f"{family}-{name}", params, {"init_latents": noise(size).numpy(), **tensors}, size)


def from_image(family, pipe, params, size, name, unpack=same, **arguments):
    """With noise of a generator, which draws the latents of images too."""
    image, mask = pictures(size)
    given = {"image_u8": image} | ({"mask_u8": mask} if params["kind"] == "inpaint" else {})
    if "mask_u8" in given:
        arguments["mask_image"] = Image.fromarray(mask)
    if "strength" in params:
        arguments["strength"] = params["strength"]
    tensors = run(pipe, unpack, size, image=Image.fromarray(image), generator=torch.Generator().manual_seed(NOISE_SEED), **arguments)
    put(family, f"{family}-{name}", params, given | tensors, size)


# ------------------------------------------------------------------ families
def sd3(first, second, large):
    network = sd3_network()
    parts = {"transformer.": network, "vae.": vae(1.5305, 0.0609), "text_encoder.": clip(CLIPTextModelWithProjection, 64, "quick_gelu"),
             "text_encoder_2.": clip(CLIPTextModelWithProjection, 128, "gelu"), "text_encoder_3.": t5(256)}
    params = {"scheduler": "flow-euler", "guidance": 4.5, "negative": NEGATIVE}
    arguments = dict(prompt=PROMPT, negative_prompt=NEGATIVE, guidance_scale=4.5)
    for name, kept in [("sd35-pipeline", parts), ("sd35-pipeline-clip", {k: v for k, v in parts.items() if k != "text_encoder_3."})]:
        filled(name, kept)
        third = kept.get("text_encoder_3.")
        made = lambda kind: kind(network, FlowMatchEulerDiscreteScheduler(shift=3.0), parts["vae."], parts["text_encoder."], first,
                                 parts["text_encoder_2."], second, third, large if third else None)
        from_text(name, made(StableDiffusion3Pipeline), params, **arguments)
        if third:
            from_image(name, made(StableDiffusion3Img2ImgPipeline), params | {"kind": "img2img", "strength": 0.55}, SIZE, "img2img",
                       **arguments)
            from_image(name, made(StableDiffusion3InpaintPipeline), params | {"kind": "inpaint", "strength": 1.0}, SQUARE, "inpaint",
                       **arguments)
    # T5 alone: the pipeline asks for its other encoders, so it is given texts, with zeros where those would be.
    name, network, decoder, third = "sd35-pipeline-t5", sd3_network(64), vae(1.5305, 0.0609), t5(64)
    comfy(name, network, Sd3, decoder, "first_stage_model.", {T5: third})
    pipe = StableDiffusion3Pipeline(network, FlowMatchEulerDiscreteScheduler(shift=3.0), decoder, None, first, None, second, third, large)
    text = lambda prompt: torch.cat([torch.zeros(1, 77, 64), pipe._get_t5_prompt_embeds(prompt, dtype=torch.float32)], dim=1)
    from_text(name, pipe, params, guidance_scale=4.5, prompt_embeds=text(PROMPT), negative_prompt_embeds=text(NEGATIVE),
              pooled_prompt_embeds=torch.zeros(1, 192), negative_pooled_prompt_embeds=torch.zeros(1, 192))


BY_TOKENS = dict(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, shift=3.0)


def packing(size):
    return dict(unpack=unpacked(size), pack=lambda x: FluxPipeline._pack_latents(x, 1, 16, size[0] // 8, size[1] // 8))


def flux(first, large):
    arguments = dict(prompt=PROMPT, guidance_scale=3.5, max_sequence_length=512)
    for name, guided in [("flux-pipeline", True), ("flux-schnell-pipeline", False)]:
        parts = {"transformer.": flux_network(guided), "vae.": vae(0.3611, 0.1159), "text_encoder.": clip(CLIPTextModel, 64, "quick_gelu"),
                 "text_encoder_2.": t5(256)}
        filled(name, parts)
        schedule = BY_TOKENS if guided else dict(shift=1.0)
        made = lambda kind: kind(FlowMatchEulerDiscreteScheduler(**schedule), parts["vae."], parts["text_encoder."], first,
                                 parts["text_encoder_2."], large, parts["transformer."])
        params = {"scheduler": "flow-simple", "guidance": 3.5 if guided else 1.0}
        from_text(name, made(FluxPipeline), params, **packing(SIZE), **arguments)
        if guided:
            from_image(name, made(FluxImg2ImgPipeline), params | {"kind": "img2img", "strength": 0.55}, SQUARE, "img2img",
                       unpacked(SQUARE), **arguments)
            from_image(name, made(FluxInpaintPipeline), params | {"kind": "inpaint", "strength": 0.7}, SIZE, "inpaint", unpacked(SIZE),
                       **arguments)
            # Kontext has the tensors of dev.
            from_image(name, made(FluxKontextPipeline), params | {"kind": "edit"}, SIZE, "edit", unpacked(SIZE),
                       max_area=SIZE[0] * SIZE[1], _auto_resize=False, **arguments)


def fill(first, large):
    name, network, decoder = "flux-fill-pipeline", flux_network(True, 64, in_channels=384, out_channels=64), vae(0.3611, 0.1159)
    texts = {CLIP_L: clip(CLIPTextModel, 64, "quick_gelu"), T5: t5(64)}
    comfy(name, network, Flux, decoder, "vae.", texts)
    pipe = FluxFillPipeline(FlowMatchEulerDiscreteScheduler(**BY_TOKENS), decoder, texts[CLIP_L], first, texts[T5], large, network)
    for case, strength, size in [("inpaint", 1.0, SIZE), ("inpaint-s08", 0.8, SQUARE)]:
        from_image(name, pipe, {"kind": "inpaint", "scheduler": "flow-simple", "guidance": 30.0, "strength": strength}, size, case,
                   unpacked(size), prompt=PROMPT, guidance_scale=30.0, max_sequence_length=512)


class MaskedChroma(ChromaPipeline):
    """With a mask that hides. That of 0.42.1 is of numbers, 1 and 0, which attention adds to its logits."""

    def _prepare_attention_mask(self, *arguments, **named):
        return super()._prepare_attention_mask(*arguments, **named).bool()


def chroma(large):
    name, decoder, text = "chroma-pipeline", vae(0.3611, 0.1159), t5(64)
    sizes = TINY_FLUX | dict(joint_attention_dim=64, approximator_num_channels=64, approximator_hidden_dim=96, approximator_layers=2)
    network = ChromaTransformer2DModel(**sizes).eval()
    comfy(name, network, Chroma, decoder, "vae.", {T5: text})
    pipe = MaskedChroma(FlowMatchEulerDiscreteScheduler(**BY_TOKENS), decoder, text, large, network)
    params = {"scheduler": "flow-simple", "guidance": 4.0, "negative": NEGATIVE}
    from_text(name, pipe, params, **packing(SIZE), prompt=PROMPT, negative_prompt=NEGATIVE, guidance_scale=4.0, max_sequence_length=512)


def z_image(tokens):
    name, decoder, text = "z-image-pipeline", vae(0.3611, 0.1159), qwen3(32)
    network = ZImageTransformer2DModel(in_channels=16, dim=96, n_layers=2, n_refiner_layers=1, n_heads=3, n_kv_heads=3,
                                       cap_feat_dim=32, axes_dims=[8, 12, 12], axes_lens=[512, 64, 64]).eval()
    comfy(name, network, ZImage, decoder, "vae.", {QWEN3: text})
    pipe = ZImagePipeline(FlowMatchEulerDiscreteScheduler(shift=3.0), decoder, text, tokens, network)
    # Longer than the prompt by more than one filling.
    params = {"scheduler": "flow-simple", "negative": "a bad image, " * 12}
    # Its scale counts from the prediction with the prompt on: one less than everybody else's.
    from_text(name, pipe, params | {"guidance": 4.0}, prompt=PROMPT, negative_prompt=params["negative"], guidance_scale=3.0)
    from_text(name, pipe, params | {"guidance": 1.0}, SQUARE, "unguided", prompt=PROMPT, guidance_scale=0.0)


def main(clip_folder, t5_path, qwen3_path):
    first, second = CLIPTokenizer.from_pretrained(clip_folder), CLIPTokenizer.from_pretrained(clip_folder)
    second.pad_token = "!"
    large = tokenizer(t5_path, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")
    chat = tokenizer(qwen3_path, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    chat.chat_template = CHAT
    sd3(first, second, large)
    flux(first, large)
    fill(first, large)
    chroma(large)
    z_image(chat)
    save_file(values, os.path.join(HERE, "goldens", FILE))
    golden_index.put(FILE, cases)
    golden_index.list_in_spec(SCRIPT, cases)


main(*sys.argv[2:])
