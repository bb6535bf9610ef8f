//! Families without published goldens: they are made from those that have some, so that what must come out is known.

mod depths;
mod lcm;
mod refiner;
mod small;
mod turbo;

use latent_benches::{DType, Manifest, synth};
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::tensor::{Device, Tensor};
use latent_diffusion::{Event, Listener};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// The tensors of a tiny single file.
fn entries(family: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/manifests");
    let text = std::fs::read_to_string(folder.join(format!("{family}-tiny-single.json"))).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    json["files"].as_object().unwrap().values().next().unwrap().as_array().unwrap().clone()
}

/// A file of these tensors in `f32`. The numbers of each follow from its name.
fn bytes(entries: Vec<Value>) -> Vec<u8> {
    let manifest = Manifest::parse(&json!({"files": {"file": entries}}).to_string()).unwrap();
    synth::bytes(&manifest.files()["file"], 1234, DType::F32)
}

fn checkpoint(entries: Vec<Value>) -> Arc<Checkpoint> {
    Arc::new(Checkpoint::from_bytes("model.safetensors", bytes(entries)).unwrap())
}

/// Some values of unit size.
fn values(dims: &[usize]) -> Tensor {
    let count = dims.iter().product::<usize>();
    Tensor::from_f32(dims, &(0..count).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>()).unwrap()
}

fn assert_near(a: &Tensor, b: &Tensor) {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (a.to(&Device::Cpu).unwrap(), b.to(&Device::Cpu).unwrap());
    let largest = b.f32s().unwrap().iter().fold(0.0_f32, |largest, v| largest.max(v.abs()));
    for (a, b) in a.f32s().unwrap().iter().zip(b.f32s().unwrap()) {
        assert!((a - b).abs() < 1e-5 * largest, "{a} {b}");
    }
}

/// Listens and goes on.
fn quiet() -> Box<Listener<'static>> {
    Box::new(|_: Event<'_>| ControlFlow::Continue(()))
}
