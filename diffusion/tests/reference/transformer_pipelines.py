"""Goldens of whole pipelines of transformer families, made with diffusers (float32, CPU): Stable Diffusion 3.5 and Flux.1 at tiny sizes.

    python3 transformer_pipelines.py TOOLS CLIP_TOKENIZER_FOLDER T5_TOKENIZER_JSON

TOOLS is the folder with `synth.py`, which makes the weights. Writes `manifests/`, `goldens/transformer_pipelines.safetensors` and
cases of the group `pipelines` in `goldens/index.json`.
"""
import gzip, json, os, sys
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[1])
import synth
import torch
from diffusers import (AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel, SD3Transformer2DModel,
                       StableDiffusion3Pipeline)
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, T5Config, T5EncoderModel
from transformers import PreTrainedTokenizerFast

FILE = "transformer_pipelines.safetensors"
SEED, SIZE, PROMPT, NEGATIVE = 1234, (64, 96), "a red fox in the snow", "blurry"
torch.set_grad_enabled(False)


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


def filled(family, parts):
    """Gives the parts the weights of one file, whose manifest is written."""
    drop = {"encoder.embed_tokens.weight": "shared.weight"}
    entries = []
    for prefix, model in parts.items():
        state = {name: value for name, value in model.state_dict().items() if name not in drop and not name.endswith("position_ids")}
        entries += [{"name": prefix + name, "dtype": "W", "shape": list(value.shape)} for name, value in state.items()]
        weights = {name: torch.from_numpy(synth.tensor(prefix + name, SEED, list(value.shape))) for name, value in state.items()}
        weights |= {name: weights[of] for name, of in drop.items() if name in model.state_dict()}
        model.load_state_dict(weights, strict=False)
    entries.sort(key=lambda entry: entry["name"])
    with open(os.path.join(HERE, "manifests", f"{family}-tiny-single.json"), "w") as f:
        f.write(json.dumps({"family": family, "scale": "tiny", "layout": "single"})[:-1])
        rows = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
        f.write(f',\n"files": {{\n"{family}.safetensors": [\n{rows}\n]\n}}}}\n')


def tokenizers(clip_folder, t5_path):
    data = open(t5_path, "rb").read()
    backend = Tokenizer.from_buffer(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    large = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>", pad_token="<pad>", model_max_length=512)
    first, second = CLIPTokenizer.from_pretrained(clip_folder), CLIPTokenizer.from_pretrained(clip_folder)
    second.pad_token = "!"
    return first, second, large


def noise(seed):
    shape = (1, 16, SIZE[0] // 8, SIZE[1] // 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def put(values, cases, family, name, params, tensors):
    for key, value in tensors.items():
        values[f"{name}/{key}"] = np.ascontiguousarray(value)
    cases.append({"group": "pipelines", "case": name, "file": FILE,
                  "tensors": {key: list(value.shape) for key, value in tensors.items()},
                  "checkpoint": {"family": family, "scale": "tiny", "seed": SEED, "dtype": "f16"},
                  "params": {"kind": "txt2img", "family": family, "prompts": [PROMPT], "seed": 3, "size": list(SIZE), **params},
                  "noise_from": [], "tol": {"latents_rel": 0.001, "u8_max": 2}, "about": "see transformer_pipelines.py"})


def u8(image):
    return ((image.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def run(pipe, unpack, **arguments):
    """Latents after each step and at the end, and the image."""
    steps = []

    def keep(pipe, step, timestep, kwargs):
        steps.append(unpack(kwargs["latents"]).numpy().copy())
        return kwargs

    out = pipe(**arguments, output_type="latent", callback_on_step_end=keep, callback_on_step_end_tensor_inputs=["latents"]).images
    latents = unpack(out)
    config = pipe.vae.config
    image = pipe.vae.decode(latents / config.scaling_factor + config.shift_factor).sample
    return {"timesteps": pipe.scheduler.timesteps.numpy().astype(np.float32), "steps": np.stack(steps), "latents": latents.numpy(),
            "output_u8": u8(image)}


def sd3(values, cases, first, second, large):
    network = SD3Transformer2DModel(sample_size=32, patch_size=2, in_channels=16, num_layers=3, attention_head_dim=32,
                                    num_attention_heads=2, joint_attention_dim=256, caption_projection_dim=64,
                                    pooled_projection_dim=192, out_channels=16, pos_embed_max_size=24, dual_attention_layers=(0, 1),
                                    qk_norm="rms_norm").eval()
    parts = {"transformer.": network, "vae.": vae(1.5305, 0.0609), "text_encoder.": clip(CLIPTextModelWithProjection, 64, "quick_gelu"),
             "text_encoder_2.": clip(CLIPTextModelWithProjection, 128, "gelu"), "text_encoder_3.": t5()}
    for name, kept in [("sd35-pipeline", parts), ("sd35-pipeline-clip", {k: v for k, v in parts.items() if k != "text_encoder_3."})]:
        filled(name, kept)
        third = kept.get("text_encoder_3.")
        pipe = StableDiffusion3Pipeline(network, FlowMatchEulerDiscreteScheduler(shift=3.0), parts["vae."], parts["text_encoder."],
                                        first, parts["text_encoder_2."], second, third, large if third else None)
        pipe.set_progress_bar_config(disable=True)
        tensors = run(pipe, lambda x: x, prompt=PROMPT, negative_prompt=NEGATIVE, num_inference_steps=5, guidance_scale=4.5,
                      height=SIZE[0], width=SIZE[1], latents=noise(3))
        put(values, cases, name, f"{name}-txt2img", {"scheduler": "flow-euler", "steps": 5, "guidance": 4.5, "negative": NEGATIVE},
            {"init_latents": noise(3).numpy(), **tensors})


def flux(values, cases, first, large):
    for name, guided in [("flux-pipeline", True), ("flux-schnell-pipeline", False)]:
        network = FluxTransformer2DModel(patch_size=1, in_channels=64, num_layers=2, num_single_layers=2, attention_head_dim=32,
                                         num_attention_heads=2, joint_attention_dim=256, pooled_projection_dim=64,
                                         guidance_embeds=guided, axes_dims_rope=(4, 14, 14)).eval()
        parts = {"transformer.": network, "vae.": vae(0.3611, 0.1159), "text_encoder.": clip(CLIPTextModel, 64, "quick_gelu"),
                 "text_encoder_2.": t5()}
        filled(name, parts)
        schedule = dict(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, shift=3.0) if guided else dict(shift=1.0)
        pipe = FluxPipeline(FlowMatchEulerDiscreteScheduler(**schedule), parts["vae."], parts["text_encoder."], first,
                            parts["text_encoder_2."], large, network)
        pipe.set_progress_bar_config(disable=True)
        packed = FluxPipeline._pack_latents(noise(3), 1, 16, SIZE[0] // 8, SIZE[1] // 8)
        tensors = run(pipe, lambda x: FluxPipeline._unpack_latents(x, SIZE[0], SIZE[1], 8), prompt=PROMPT, num_inference_steps=5,
                      guidance_scale=3.5, height=SIZE[0], width=SIZE[1], latents=packed, max_sequence_length=512)
        put(values, cases, name, f"{name}-txt2img", {"scheduler": "flow-simple", "steps": 5, "guidance": 3.5 if guided else 1.0},
            {"init_latents": noise(3).numpy(), **tensors})


def main(clip_folder, t5_path):
    first, second, large = tokenizers(clip_folder, t5_path)
    values, cases = {}, []
    sd3(values, cases, first, second, large)
    flux(values, cases, first, large)
    save_file(values, os.path.join(HERE, "goldens", FILE))
    path = os.path.join(HERE, "goldens", "index.json")
    index = json.load(open(path))
    index["cases"] = [case for case in index["cases"] if case["file"] != FILE] + cases
    with open(path, "w") as f:
        f.write('{"versions": ' + json.dumps(index["versions"]) + ',\n"cases": [\n')
        f.write(",\n".join(json.dumps(case, ensure_ascii=False) for case in index["cases"]) + "\n]}\n")
    print("other_scripts of spec.json lists them:", [case["group"] + "/" + case["case"] for case in cases])


main(*sys.argv[2:])
