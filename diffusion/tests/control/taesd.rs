//! TAESD's files and images.

use super::{entries, file, open, quiet, renamed};
use latent_diffusion::taesd::{FACTOR, TaesdFile};
use latent_diffusion::tensor::{Device, Tensor};
use latent_diffusion::{Image, Latents, Settings};
use latent_kernels::parallel;
use serde_json::Value;
use std::sync::Arc;

fn taesd(entries: Vec<Value>) -> TaesdFile {
    TaesdFile::open(file("taesd", entries)).unwrap()
}

fn latent() -> Tensor {
    let values: Vec<f32> = (0..4 * 5 * 7).map(|i| 2.0 * (i as f32 * 0.7).sin()).collect();
    Tensor::from_f32(&[1, 5, 7, 4], &values).unwrap()
}

fn decoded(file: &TaesdFile) -> Vec<f32> {
    let image = file.decoder(&Device::Cpu).unwrap().decode(&latent()).unwrap();
    assert_eq!(image.dims(), [1, 5 * FACTOR, 7 * FACTOR, 3]);
    image.f32s().unwrap().to_vec()
}

fn encoded(file: &TaesdFile) -> Vec<f32> {
    let image = Tensor::from_f32(&[1, 16, 24, 3], &[0.25; 16 * 24 * 3]).unwrap();
    let latent = file.encoder(&Device::Cpu).unwrap().encode(&image).unwrap();
    assert_eq!(latent.dims(), [1, 2, 3, 4]);
    latent.f32s().unwrap().to_vec()
}

/// The entries of one half, as the original names them.
fn original(half: &str, prefix: &str) -> Vec<Value> {
    renamed(entries("taesd"), |name| {
        let (layer, below) = name.strip_prefix(&format!("{half}.layers."))?.split_once('.')?;
        let layer = layer.parse::<usize>().unwrap() + usize::from(half == "decoder");
        Some(format!("{prefix}{layer}.{below}"))
    })
}

#[test]
fn every_layout_is_the_same_network() {
    let folder = taesd(entries("taesd"));
    let (image, latent) = (decoded(&folder), encoded(&folder));
    for (decoder, encoder) in [("", ""), ("taesd_decoder.", "taesd_encoder."), ("decoder.", "encoder.")] {
        let (decoder, encoder) = (original("decoder", decoder), original("encoder", encoder));
        assert!(decoded(&taesd(decoder.clone())) == image);
        assert!(encoded(&taesd(encoder.clone())) == latent);
        if decoder[0]["name"] != encoder[0]["name"] && decoder[0]["name"].as_str().unwrap().contains("coder")
        {
            let both = taesd(decoder.into_iter().chain(encoder).collect());
            assert!(decoded(&both) == image && encoded(&both) == latent);
        }
    }
}

#[test]
fn gaps_and_other_files_are_told() {
    let error = |entries| TaesdFile::open(file("bad", entries)).unwrap_err();
    let gap: Vec<Value> =
        entries("taesd").into_iter().filter(|e| e["name"] != "decoder.layers.6.weight").collect();
    let line = error(gap).to_string();
    assert!(
        line.contains("decoder: 1 of 67 tensors missing") && line.contains("decoder.layers.6.weight"),
        "{line}"
    );
    let line = error(entries("sd15")).to_string();
    assert!(line.contains("is not a TAESD but a model"), "{line}");
    let error = open("sd15").set_taesd(Some(Arc::new(taesd(original("encoder", ""))))).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("give the decoder"), "{error}");
}

#[test]
fn it_decodes_in_place_of_the_vae() {
    let mut pipeline = open("sd15");
    let settings = Settings::default().with_width(Some(56)).with_height(Some(40)).with_steps(1);
    let plain = pipeline.text_to_image("a", "", &settings, &mut *quiet()).unwrap();
    let tiny = Arc::new(taesd(entries("taesd")));
    pipeline.set_taesd(Some(tiny.clone())).unwrap();
    let fast = pipeline.text_to_image("a", "", &settings, &mut *quiet()).unwrap();
    assert!(fast != plain && (fast[0].width, fast[0].height) == (56, 40));
    let latents = Latents::from_channels_last(&latent()).unwrap();
    let expected = Tensor::from_f32(&[1, 40, 56, 3], &decoded(&tiny)).unwrap();
    let expected = Image::from_tensor(&expected).unwrap();
    let decode = || {
        let mut pipeline = open("sd15");
        pipeline.set_taesd(Some(tiny.clone())).unwrap();
        pipeline.decode(&latents, &mut *quiet()).unwrap()
    };
    for threads in [1, 3] {
        assert!(parallel::with_threads(threads, decode).unwrap() == expected, "{threads} threads");
    }
    pipeline.set_taesd(None).unwrap();
    assert!(pipeline.text_to_image("a", "", &settings, &mut *quiet()).unwrap() == plain);
}

#[test]
fn those_of_16_channels_are_recognised_by_their_names() {
    let tiny = |label: &str| {
        let entries = match label.ends_with("taesd") {
            true => entries("taesd"),
            false => entries("taesd3"),
        };
        Arc::new(TaesdFile::open(file(label, entries)).unwrap())
    };
    assert_eq!(tiny("taef1").config().latent_channels, 16);
    let settings = Settings::default().with_width(Some(64)).with_height(Some(48)).with_steps(1);
    for (model, own, other) in [
        ("sd35-pipeline", "models/taesd3_decoder.safetensors", "taef1"),
        ("flux-schnell-pipeline", "TAEF1/diffusion_pytorch_model.safetensors", "taesd3"),
    ] {
        let mut pipeline = open(model);
        let draw = |pipeline: &mut latent_diffusion::Pipeline| {
            pipeline.text_to_image("a", "", &settings, &mut *quiet()).unwrap()
        };
        let plain = draw(&mut pipeline);
        pipeline.set_taesd(Some(tiny(own))).unwrap();
        let fast = draw(&mut pipeline);
        assert!(fast != plain && (fast[0].width, fast[0].height) == (64, 48), "{model}");
        // One of any other name is believed.
        pipeline.set_taesd(Some(tiny("tiny"))).unwrap();
        assert!(draw(&mut pipeline) == fast, "{model}");
        let line = pipeline.set_taesd(Some(tiny(other))).unwrap_err().to_string();
        assert!(line.contains(&format!("is a {other}, whose latents are not those of")), "{line}");
        let line = pipeline.set_taesd(Some(tiny("taesd"))).unwrap_err().to_string();
        assert!(line.contains("is a TAESD for latents of 4 channels"), "{line}");
    }
}
