//! The API of the webui.

mod changes;
mod control;
mod draw;
mod extras;
mod lists;
mod options;
mod progress;

use crate::common::{Answer, Folders, Served};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latent_benches::{DType, Manifest, synth};
use latent_diffusion::Image;
use latent_loader::{Checkpoint, NewTensor, Writer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A server with the built-in model.
fn served() -> (Folders, Served) {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    (folders, served)
}

/// A server with these synthetic files besides.
fn served_with(families: &[&str]) -> (Folders, Served) {
    let folders = Folders::new();
    let options = folders.options();
    for file in families {
        let bytes = match *file {
            "vae" => vae(),
            "4x" => esrgan(),
            family => synthetic(family),
        };
        std::fs::write(folders.path("models").join(format!("{file}.safetensors")), bytes).unwrap();
    }
    let served = Served::start(options);
    (folders, served)
}

/// A narrow synthetic checkpoint of a family.
pub(crate) fn synthetic(family: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion/tests/reference/manifests");
    let text = std::fs::read_to_string(folder.join(format!("{family}-tiny-single.json"))).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    synth::bytes(manifest.files().values().next().unwrap(), 1, DType::F16)
}

/// The VAE of a synthetic model, as a file of its own.
pub(crate) fn vae() -> Vec<u8> {
    let model = Checkpoint::from_bytes("sd15", synthetic("sd15")).unwrap();
    let parts: Vec<&str> = model.tensors().map(|tensor| tensor.name.as_str()).collect();
    let parts = parts.into_iter().filter(|name| name.starts_with("first_stage_model."));
    let read: Vec<_> = parts.map(|name| (name.to_owned(), model.read(name).unwrap())).collect();
    let new = read.iter().map(|(name, tensor)| NewTensor {
        name: name.clone(),
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
    });
    let mut tensors: Vec<NewTensor> = new.collect();
    let mut writer = Writer::begin(Vec::new(), &BTreeMap::new(), &mut tensors).unwrap();
    for tensor in &tensors {
        let (_, values) = read.iter().find(|(name, _)| *name == tensor.name).unwrap();
        writer.write(&values.data).unwrap();
    }
    writer.end().unwrap()
}

/// An ESRGAN of one block, four times as large, that makes everything black.
pub(crate) fn esrgan() -> Vec<u8> {
    let mut layers = vec![("conv_first".to_owned(), 8, 3), ("conv_body".to_owned(), 8, 8)];
    for dense in 1..4 {
        layers.extend((1..5).map(|i| (format!("body.0.rdb{dense}.conv{i}"), 4, 4 + i * 4)));
        layers.push((format!("body.0.rdb{dense}.conv5"), 8, 24));
    }
    layers.extend(["conv_up1", "conv_up2", "conv_hr"].map(|name| (name.to_owned(), 8, 8)));
    layers.push(("conv_last".to_owned(), 3, 8));
    let new = |name: String, shape| NewTensor { name, dtype: DType::F32, shape };
    let mut tensors: Vec<NewTensor> = layers
        .into_iter()
        .flat_map(|(name, outputs, inputs)| {
            [
                new(format!("{name}.weight"), vec![outputs, inputs, 3, 3]),
                new(format!("{name}.bias"), vec![outputs]),
            ]
        })
        .collect();
    let mut writer = Writer::begin(Vec::new(), &BTreeMap::new(), &mut tensors).unwrap();
    for tensor in &tensors {
        writer.write(&vec![0; 4 * tensor.shape.iter().product::<usize>()]).unwrap();
    }
    writer.end().unwrap()
}

/// A small image that is the same everywhere, with further fields.
fn small(more: Value) -> Value {
    let mut body = json!({ "prompt": "a red apple", "width": 32, "height": 32, "steps": 2, "seed": 7 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// A PNG in base64: the left part of `white` columns is white, the rest black.
fn png(width: usize, height: usize, white: usize) -> String {
    let value = |i: usize| if i % width < white { 255 } else { 0 };
    let rgb = (0..width * height).flat_map(|i| [value(i); 3]).collect();
    STANDARD.encode(latent_app::output::png(&Image { width, height, rgb }).unwrap())
}

/// Sends a request that must succeed.
#[track_caller]
fn post(served: &Served, address: &str, body: &Value) -> Value {
    let answer = served.post(address, body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[track_caller]
fn get(served: &Served, address: &str) -> Value {
    let answer = served.get(address);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Width and height of an image in base64.
fn size(base64: &Value) -> (usize, usize) {
    let bytes = STANDARD.decode(base64.as_str().unwrap()).unwrap();
    let image = latent_app::image_file::decode_bytes("image", &bytes).unwrap().image;
    (image.width, image.height)
}

fn info(answer: &Value) -> Value {
    serde_json::from_str(answer["info"].as_str().unwrap()).unwrap()
}

/// Checks that an answer refuses a field, in a line that begins with it.
#[track_caller]
fn assert_refused(answer: &Answer, field: &str) {
    let body = answer.json();
    let detail = body["detail"].as_str().unwrap_or_default();
    assert_eq!((answer.status, body["field"].as_str()), (422, Some(field)), "{body}");
    assert!(detail.starts_with(&format!("{field}: ")) && detail.lines().count() == 1, "{detail}");
}
