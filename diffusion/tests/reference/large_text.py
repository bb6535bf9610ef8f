"""Goldens of the large text encoders, made with transformers (float32, CPU): T5 v1.1 and Qwen3 at tiny sizes.

    python3 large_text.py TOOLS T5_TOKENIZER_JSON QWEN3_TOKENIZER_JSON

TOOLS is the folder with `synth.py`, which makes the weights. The tokenizers are those of `tokenizers/make_vocabularies.py`. Writes
`manifests/`, `goldens/large_text.safetensors` and the cases of the groups `large_text/*` in `goldens/index.json`.
"""
import gzip, json, os, sys
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[1])
import synth
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import Qwen3Config, Qwen3Model, T5Config, T5EncoderModel
import golden_index

FILE = "large_text.safetensors"
SEED = 1234
LONG = "rivers and mountains under a cloudy sky, " * 20
PROMPTS = ["a photograph of a red fox in the snow, golden hour", LONG, "", "Ein Café am Fluß — 雪"]
QWEN3_PAD = 151643
torch.set_grad_enabled(False)


def t5():
    return T5EncoderModel(T5Config(vocab_size=32128, d_model=48, d_kv=16, num_heads=4, d_ff=96, num_layers=3, dropout_rate=0.0,
                                   feed_forward_proj="gated-gelu", is_encoder_decoder=False)).eval()


def qwen3():
    return Qwen3Model(Qwen3Config(vocab_size=151936, hidden_size=48, intermediate_size=112, num_hidden_layers=4, num_attention_heads=4,
                                  num_key_value_heads=2, head_dim=16, max_position_embeddings=40960, rms_norm_eps=1e-6,
                                  rope_parameters={"rope_type": "default", "rope_theta": 1e6}, use_cache=False)).eval()


def filled(family, model, prefix, drop=()):
    """The model with the weights of its manifest, which is written."""
    state = {name: value for name, value in model.state_dict().items() if name not in drop}
    entries = [{"name": prefix + name, "dtype": "W", "shape": list(value.shape)} for name, value in state.items()]
    entries.sort(key=lambda entry: entry["name"])
    with open(os.path.join(HERE, "manifests", f"{family}-tiny-single.json"), "w") as f:
        f.write(json.dumps({"family": family, "scale": "tiny", "layout": "single"})[:-1])
        rows = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
        f.write(f',\n"files": {{\n"{family}.safetensors": [\n{rows}\n]\n}}}}\n')
    weights = {name: torch.from_numpy(synth.tensor(prefix + name, SEED, list(value.shape))) for name, value in state.items()}
    for name in drop:
        weights[name] = weights[drop[name]]
    model.load_state_dict(weights)
    return model


def tokens(path, texts, length, padding):
    data = open(path, "rb").read()
    tokenizer = Tokenizer.from_buffer(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=padding, length=length)
    encoded = tokenizer.encode_batch(texts)
    return np.array([e.ids for e in encoded], np.int32), np.array([sum(e.attention_mask) for e in encoded], np.int32)


def masked(ids, counts):
    return torch.from_numpy((np.arange(ids.shape[1])[None] < counts[:, None]).astype(np.int64))


def t5_cases(path):
    model = filled("t5", t5(), "", {"encoder.embed_tokens.weight": "shared.weight"})
    # Long enough for each kind of distance, and shorter than the longest prompt.
    for case, length in [("long", 150), ("short", 24)]:
        ids, counts = tokens(path, PROMPTS, length, 0)
        run = lambda **mask: model(torch.from_numpy(ids).long(), **mask).last_hidden_state.numpy()
        yield "t5", case, {"input_ids": ids, "counts": counts, "unmasked": run(), "masked": run(attention_mask=masked(ids, counts))}, {
            "prompts": PROMPTS}


def qwen3_cases(path):
    model = filled("qwen3", qwen3(), "model.")
    before, after = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
    for case, end, states in [("thinking", after, [-2, -1, 0]), ("not_thinking", after + "<think>\n\n</think>\n\n", [1, 2, 3])]:
        ids, counts = tokens(path, [before + prompt + end for prompt in PROMPTS], 40, QWEN3_PAD)
        out = model(torch.from_numpy(ids).long(), attention_mask=masked(ids, counts), output_hidden_states=True)
        stacked = torch.cat([out.hidden_states[state] for state in states], dim=-1).numpy()
        yield "qwen3", case, {"input_ids": ids, "counts": counts, "states": stacked}, {"prompts": PROMPTS, "states": states}


def main(t5_path, qwen3_path):
    values, cases = {}, []
    for family, case, tensors, info in [*t5_cases(t5_path), *qwen3_cases(qwen3_path)]:
        name = f"{family}-{case}"
        for key, value in tensors.items():
            values[f"{name}/{key}"] = np.ascontiguousarray(value)
            if value.dtype == np.float32:
                print(name, key, value.shape, "std", value.std(), "max", np.abs(value).max())
        cases.append({"group": f"large_text/{family}", "case": name, "file": FILE,
                      "tensors": {key: list(value.shape) for key, value in tensors.items()},
                      "checkpoint": {"family": family, "scale": "tiny", "seed": SEED, "dtype": "f16"},
                      "tol": {"abs": 2e-4, "rel": 1e-4}, **info, "about": "see large_text.py"})
    save_file(values, os.path.join(HERE, "goldens", FILE))
    golden_index.put(FILE, cases)
    print("other_scripts of spec.json lists them:", [case["group"] + "/" + case["case"] for case in cases])


main(*sys.argv[2:])
