//! Models for few steps, models whose schedule ends in noise, and a text encoder with a layer that is not used.

use super::{bytes, entries};
use latent_diffusion::families::{Model, ModelParts};
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::text::PartEncoder;
use latent_diffusion::tokenizer::{END, Tokenizer};
use latent_diffusion::{Pipeline, Settings, params::Params};
use serde_json::json;
use std::sync::Arc;

fn model(family: &str, label: &str) -> Model {
    let checkpoint = Checkpoint::from_bytes(label, bytes(entries(family))).unwrap();
    Model::detect(&Arc::new(checkpoint)).unwrap()
}

#[test]
fn names_tell_what_a_model_was_made_for() {
    for (family, label, expected) in [
        ("sd21", "sd_turbo.safetensors", (4, 1.0, "euler_a")),
        ("sdxl", "sd_xl_turbo_1.0_fp16.safetensors", (4, 1.0, "euler_a")),
        ("sdxl", "sdxl_lightning_8step.safetensors", (8, 1.0, "euler")),
        ("sdxl", "Hyper-SDXL-1step.safetensors", (1, 1.0, "ddim")),
        ("sdxl", "sd_xl_base_1.0.safetensors", (20, 7.0, "dpm++2m")),
        // A word that only begins so.
        ("sdxl", "hyperrealistic_v4.safetensors", (20, 7.0, "dpm++2m")),
        ("sdxl", "realistic_9999steps.safetensors", (20, 7.0, "dpm++2m")),
    ] {
        let settings = Settings::of(&model(family, label));
        assert_eq!((settings.steps, settings.guidance, settings.sampler.name()), expected, "{label}");
        assert!(settings.check(&model(family, label)).is_ok(), "{label}");
    }
}

#[test]
fn a_mark_or_a_setting_makes_the_schedule_end_in_noise() {
    let last = |model: &Model| model.training.sigma_range().1;
    let mut marked = entries("sdxl");
    for mark in ["v_pred", "ztsnr"] {
        marked.push(json!({"name": mark, "dtype": "F32", "shape": [1], "fixed": "f32:0"}));
    }
    let open = |entries| Pipeline::open(Checkpoint::from_bytes("xl", bytes(entries)).unwrap()).unwrap();
    let pipeline = open(marked);
    assert!((last(pipeline.model()) - 4096.0).abs() < 1e-3);
    assert!(last(pipeline.with_zero_terminal_snr(false).model()) < 15.0);
    let pipeline = open(entries("sdxl"));
    assert!(last(pipeline.model()) < 15.0);
    assert!(last(pipeline.with_zero_terminal_snr(true).model()) > 4000.0);
}

#[test]
fn the_last_layer_of_sd2_is_not_read() {
    let checkpoint = Arc::new(Checkpoint::from_bytes("sd2", bytes(entries("sd21"))).unwrap());
    let (all, used) = (ModelParts::detect(&checkpoint).unwrap().text, Model::detect(&checkpoint).unwrap());
    assert_eq!((all[0].skip, used.text[0].skip), (2, 1));
    assert_eq!(used.text[0].config.layers + 1, all[0].config.layers);
    let ids = [Tokenizer::clip().encode_padded("a cat", END)];
    let load =
        |part| PartEncoder::load(&Params::new(used.weights.scope("text_encoder"), &|_| ()), part).unwrap();
    for clip_skip in [1, 2] {
        let states = |part| load(part).encode(&ids, clip_skip).unwrap().states.f32s().unwrap().to_vec();
        assert!(states(&all[0]) == states(&used.text[0]), "clip skip {clip_skip}");
    }
    // SDXL's encoders: the first is cut, the second's pooled text needs all layers.
    let parts = model("sdxl", "xl").text;
    assert_eq!((parts[0].skip, parts[1].skip), (1, 2));
}
