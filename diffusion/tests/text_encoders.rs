//! T5 and Qwen3 beside themselves: layer by layer, in batches, of several layouts of files. Their values are in the goldens.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use latent_benches::{Manifest, synth};
use latent_diffusion::params::Params;
use latent_diffusion::tensor::Tensor;
use latent_diffusion::text::LayerLoading::{AllAtOnce, OneByOne};
use latent_diffusion::text::qwen3::{Qwen3Config, Qwen3Encoder};
use latent_diffusion::text::t5::{T5Config, T5Encoder};
use latent_diffusion::tokenizer::PaddedTokens;
use latent_diffusion::{BlockCount, Error, Event, Stage};
use latent_loader::Checkpoint;

const T5: T5Config =
    T5Config { vocabulary: 40, width: 32, layers: 3, heads: 2, inner_width: 32, mlp_width: 48 };
const QWEN3: Qwen3Config = Qwen3Config {
    vocabulary: 40,
    width: 32,
    layers: 4,
    heads: 4,
    kv_heads: 2,
    head_width: 16,
    mlp_width: 48,
};

fn synthetic() -> Params<'static> {
    Params::synthetic(5, &|_| ())
}

fn text(ids: &[u32], length: usize) -> PaddedTokens {
    let mut all = ids.to_vec();
    all.resize(length, 0);
    PaddedTokens { ids: all, count: ids.len() }
}

fn texts() -> Vec<PaddedTokens> {
    vec![text(&[5, 6, 7], 8), text(&[30, 2, 9, 11, 39], 5), text(&[8, 1, 1, 4, 20, 7, 3, 9], 8)]
}

fn values(states: &[Tensor]) -> Vec<Vec<f32>> {
    states.iter().map(|states| states.f32s().unwrap().to_vec()).collect()
}

#[test]
fn one_layer_at_a_time_gives_the_same_bytes_and_so_does_each_text_alone() {
    let unwatched = BlockCount::unwatched;
    let t5 = |loading| T5Encoder::load(&synthetic(), &T5, loading).unwrap();
    for masks_padding in [false, true] {
        let encode = |loading, texts: &[PaddedTokens]| {
            values(&t5(loading).encode(texts, masks_padding, &mut unwatched()).unwrap())
        };
        let all = encode(AllAtOnce, &texts());
        assert_eq!(all, encode(OneByOne, &texts()));
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [8 * 32, 5 * 32, 8 * 32]);
        for (text, states) in texts().into_iter().zip(&all) {
            assert_eq!(encode(AllAtOnce, &[text])[0], *states);
        }
    }
    let encode = |loading, texts: &[PaddedTokens]| {
        let encoder = Qwen3Encoder::load(&synthetic(), &QWEN3, &[1, -1], loading).unwrap();
        values(&encoder.encode(texts, &mut unwatched()).unwrap())
    };
    let all = encode(AllAtOnce, &texts());
    assert_eq!(all, encode(OneByOne, &texts()));
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [8 * 64, 5 * 64, 8 * 64]);
    for (text, states) in texts().into_iter().zip(&all) {
        assert_eq!(encode(AllAtOnce, &[text])[0], *states);
    }
}

/// Padding comes after the text, and a causal model looks back only.
#[test]
fn padding_changes_no_state_of_a_text() {
    let encoder = Qwen3Encoder::load(&synthetic(), &QWEN3, &[-2], AllAtOnce).unwrap();
    let of =
        |length| values(&encoder.encode(&[text(&[5, 6, 7], length)], &mut BlockCount::unwatched()).unwrap());
    let (short, long) = (of(3), of(8));
    for (short, long) in short[0].iter().zip(&long[0][..3 * 32]) {
        assert!((short - long).abs() < 1e-5, "{short} {long}");
    }
    let encoder = T5Encoder::load(&synthetic(), &T5, AllAtOnce).unwrap();
    let of = |length, masks| {
        values(&encoder.encode(&[text(&[5, 6, 7], length)], masks, &mut BlockCount::unwatched()).unwrap())
    };
    let (short, masked, seen) = (of(3, false), of(8, true), of(8, false));
    let distance = |long: &[f32]| short[0].iter().zip(long).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(distance(&masked[0]) < 1e-5 && distance(&seen[0]) > 1e-3);
}

#[test]
fn layers_are_read_when_they_are_needed_and_no_others() {
    let read = Cell::new(0u64);
    let on_read = |bytes| read.set(read.get() + bytes);
    let bytes = |states: &[isize], loading| {
        read.set(0);
        let encoder = Qwen3Encoder::load(&Params::synthetic(5, &on_read), &QWEN3, states, loading).unwrap();
        (read.get(), encoder.blocks())
    };
    let (table, norm) = (40 * 32 * 2, 32 * 2);
    let layer = 2 * (32 * (2 * 64 + 2 * 32 + 3 * 48) + 2 * 32 + 2 * 16);
    assert_eq!(bytes(&[-1], AllAtOnce), (table + norm + 4 * layer, 4));
    assert_eq!(bytes(&[1, 2], AllAtOnce), (table + 2 * layer, 2));
    assert_eq!(bytes(&[-2], AllAtOnce), (table + 3 * layer, 3));
    assert_eq!(bytes(&[-2], OneByOne), (0, 3));
}

#[test]
fn each_layer_is_reported_and_may_be_the_last() {
    let encoder = T5Encoder::load(&synthetic(), &T5, OneByOne).unwrap();
    let encode = |stop_at: usize| {
        let mut seen = Vec::new();
        let mut listener = |event: Event<'_>| {
            if let Event::Block { stage: Stage::TextEncoding, block, total } = event {
                seen.push((block, total));
                if block == stop_at {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        };
        let mut count = BlockCount::new(Stage::TextEncoding, encoder.blocks(), &mut listener);
        let result = encoder.encode(&texts(), false, &mut count).map(drop);
        (result, seen)
    };
    let (result, seen) = encode(9);
    assert!(result.is_ok());
    assert_eq!(seen, [(1, 3), (2, 3), (3, 3)]);
    let (result, seen) = encode(2);
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert_eq!(seen, [(1, 3), (2, 3)]);
}

/// A file of tensors of these shapes.
fn file(tensors: &[(String, Vec<usize>)]) -> Arc<Checkpoint> {
    let entry = |(name, shape): &(String, Vec<usize>)| {
        format!("{{\"name\":{name:?},\"dtype\":\"W\",\"shape\":{shape:?}}}")
    };
    let entries: Vec<String> = tensors.iter().map(entry).collect();
    let manifest = format!(
        "{{\"family\":\"x\",\"scale\":\"tiny\",\"layout\":\"single\",\"files\":{{\"x\":[{}]}}}}",
        entries.join(",")
    );
    let manifest = Manifest::parse(&manifest).unwrap();
    let bytes = synth::bytes(&manifest.files()["x"], 1, synth::parse_dtype("f16").unwrap());
    Arc::new(Checkpoint::from_bytes("encoder.safetensors", bytes).unwrap())
}

/// Tensors from which sizes are read, of layers of an encoder with the names of a layout.
fn t5_file(table: &str, layer: impl Fn(usize, &str) -> String, names: [&str; 4]) -> Arc<Checkpoint> {
    let [q, bias, gate, other] = names;
    let mut tensors = vec![(table.to_owned(), vec![40, 32])];
    for i in 0..3 {
        tensors.extend(
            [(q, [32, 32]), (gate, [48, 32]), (other, [48, 32])]
                .map(|(name, shape)| (layer(i, name), shape.to_vec())),
        );
    }
    tensors.push((layer(0, bias), vec![32, 2]));
    file(&tensors)
}

#[test]
fn sizes_of_a_t5_are_read_from_files_of_each_layout() {
    let transformers = [
        "layer.0.SelfAttention.q",
        "layer.0.SelfAttention.relative_attention_bias",
        "layer.1.DenseReluDense.wi_0",
        "layer.1.DenseReluDense.wi_1",
    ];
    let llama_cpp = ["attn_q", "attn_rel_b", "ffn_gate", "ffn_up"];
    for (prefix, table, block, names) in [
        ("", "shared.weight", "encoder.block", transformers),
        ("", "encoder.embed_tokens.weight", "encoder.block", transformers),
        ("text_encoders.t5xxl.transformer.", "shared.weight", "encoder.block", transformers),
        ("", "token_embd.weight", "enc.blk", llama_cpp),
    ] {
        let layer = |i: usize, name: &str| format!("{prefix}{block}.{i}.{name}.weight");
        let weights = T5Encoder::weights(&t5_file(&format!("{prefix}{table}"), layer, names));
        assert_eq!(T5Config::from_weights(&weights).unwrap(), T5, "{prefix}{table}");
    }
}

#[test]
fn other_versions_of_t5_are_refused_by_name() {
    let [q, bias, gate] = [
        "layer.0.SelfAttention.q",
        "layer.0.SelfAttention.relative_attention_bias",
        "layer.1.DenseReluDense.wi_0",
    ];
    let name = |i: usize, name: &str| format!("encoder.block.{i}.{name}.weight");
    let table = || ("shared.weight".to_owned(), vec![40, 32]);
    let refusal = |tensors: &[(String, Vec<usize>)]| {
        let weights = T5Encoder::weights(&file(tensors));
        T5Config::from_weights(&weights).unwrap_err().to_string()
    };
    let old = refusal(&[table(), (name(0, "layer.1.DenseReluDense.wi"), vec![48, 32])]);
    assert!(old.starts_with("encoder.safetensors: is a T5 of version 1.0"), "{old}");
    let each = refusal(&[table(), (name(0, bias), vec![32, 2]), (name(1, bias), vec![32, 2])]);
    assert!(each.contains("is a UMT5"), "{each}");
    let layer = |buckets, heads| {
        vec![
            table(),
            (name(0, q), vec![32, 32]),
            (name(0, bias), vec![buckets, heads]),
            (name(0, gate), vec![48, 32]),
        ]
    };
    assert!(refusal(&layer(16, 2)).contains("32 buckets"));
    assert!(refusal(&layer(32, 3)).contains("3 heads of 32 channels"));
    let lacking = refusal(&layer(32, 2)[1..]);
    assert!(lacking.contains("shared.weight"), "{lacking}");
    // What a layer lacks is named when it is loaded.
    let weights = T5Encoder::weights(&file(&layer(32, 2)));
    let config = T5Config::from_weights(&weights).unwrap();
    let params = Params::new(weights, &|_| ());
    let error = T5Encoder::load(&params, &config, AllAtOnce).unwrap_err().to_string();
    assert!(error.starts_with("encoder.safetensors") && error.contains("layer_norm"), "{error}");
}

#[test]
fn sizes_of_a_qwen3_are_read_from_files_of_each_layout() {
    let transformers =
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.q_norm", "mlp.gate_proj"].map(str::to_owned);
    let llama_cpp = ["attn_q", "attn_k", "attn_q_norm", "ffn_gate"].map(str::to_owned);
    for (table, layers, [q, k, norm, gate]) in [
        ("model.embed_tokens.weight", "model.layers", &transformers),
        ("embed_tokens.weight", "layers", &transformers),
        (
            "text_encoders.qwen3_4b.transformer.model.embed_tokens.weight",
            "text_encoders.qwen3_4b.transformer.model.layers",
            &transformers,
        ),
        ("token_embd.weight", "blk", &llama_cpp),
    ] {
        let mut tensors = vec![(table.to_owned(), vec![40, 32])];
        for i in 0..4 {
            let name = |name| format!("{layers}.{i}.{name}.weight");
            tensors.extend([
                (name(q), vec![64, 32]),
                (name(k), vec![32, 32]),
                (name(norm), vec![16]),
                (name(gate), vec![48, 32]),
            ]);
        }
        let weights = Qwen3Encoder::weights(&file(&tensors));
        assert_eq!(Qwen3Config::from_weights(&weights).unwrap(), QWEN3, "{table}");
        let refusal = |tensors: &[(String, Vec<usize>)]| {
            Qwen3Config::from_weights(&Qwen3Encoder::weights(&file(tensors))).unwrap_err().to_string()
        };
        // The first layer is that of another model, or does not fit together.
        tensors[2].1 = vec![40, 32];
        assert!(refusal(&tensors).contains("keys of 40 channels are not heads of 16"));
        tensors.remove(3);
        assert!(refusal(&tensors).contains("queries have no norm"));
    }
}

#[test]
fn a_hidden_state_past_the_layers_is_refused() {
    let error = Qwen3Encoder::load(&synthetic(), &QWEN3, &[9, 18, 27], AllAtOnce).unwrap_err().to_string();
    assert!(error.contains("has 4 layers, and hidden state 9 is needed"), "{error}");
}
