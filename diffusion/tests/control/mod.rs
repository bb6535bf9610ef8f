//! ControlNets, image prompts and TAESD in whole pipelines, of files that are made here.

mod files;
mod image_prompts;
mod light;
mod pipeline;
mod taesd;

use latent_benches::{DType, Manifest, synth};
use latent_diffusion::controlnet::ControlFile;
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::{Event, Image, Listener, Pipeline};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// The tensors of a tiny single file.
fn entries(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/manifests");
    let text = std::fs::read_to_string(folder.join(format!("{name}-tiny-single.json"))).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    json["files"].as_object().unwrap().values().next().unwrap().as_array().unwrap().clone()
}

/// A file of these tensors. The numbers of each follow from its name, or that of its `src`.
fn file(label: &str, entries: Vec<Value>) -> Checkpoint {
    let manifest = Manifest::parse(&json!({"files": {"file": entries}}).to_string()).unwrap();
    let bytes = synth::bytes(&manifest.files()["file"], 1234, DType::F16);
    Checkpoint::from_bytes(label, bytes).unwrap()
}

/// The entries with other names; `src` keeps their numbers.
fn renamed(entries: Vec<Value>, name: impl Fn(&str) -> Option<String>) -> Vec<Value> {
    let rename = |mut entry: Value| {
        let old = entry["name"].as_str().unwrap().to_owned();
        if entry["src"].is_null() {
            (entry["src"], entry["src_shape"]) = (old.clone().into(), entry["shape"].clone());
        }
        entry["name"] = name(&old)?.into();
        Some(entry)
    };
    entries.into_iter().filter_map(rename).collect()
}

/// The entries of a ControlNet for a UNet: its way down and middle, and what a ControlNet has of its own.
fn control_entries(family: &str) -> Vec<Value> {
    let is_own = |name: &str| {
        ["input_hint_block.", "zero_convs.", "middle_block_out."].iter().any(|own| name.contains(own))
    };
    let below = |name: &str| {
        let below = name.strip_prefix("model.diffusion_model.")?;
        let parts = ["input_blocks.", "middle_block.", "time_embed.", "label_emb."];
        parts.iter().any(|part| below.starts_with(part)).then(|| format!("control_model.{below}"))
    };
    let shared = renamed(entries(family), below);
    // As many zero convolutions as there are states.
    let states =
        shared.iter().filter(|e| e["name"].as_str().unwrap().ends_with(".0.op.weight")).count() * 3 + 3;
    let number = |name: &str| name.split('.').nth(2).and_then(|n| n.parse::<usize>().ok());
    let width = shared.iter().find(|e| e["name"] == "control_model.input_blocks.0.0.weight").unwrap();
    // The network that there is has 32 channels in its first level.
    let ratio = width["shape"][0].as_u64().unwrap() / 32;
    let own = entries("controlnet-sd15").into_iter().filter_map(|mut entry| {
        let name = entry["name"].as_str()?.to_owned();
        if !is_own(&name) || (name.contains("zero_convs.") && number(&name)? >= states) {
            return None;
        }
        // Of the hint's layers only the last gives channels of the UNet.
        let dims = match name.contains("input_hint_block.") {
            true => usize::from(name.contains(".14.")),
            false => 2,
        };
        for dim in entry["shape"].as_array_mut()?.iter_mut().take(dims) {
            *dim = (dim.as_u64()? * if *dim == 1 { 1 } else { ratio }).into();
        }
        Some(entry)
    });
    shared.into_iter().chain(own).collect()
}

fn control(family: &str) -> Arc<ControlFile> {
    Arc::new(ControlFile::open(file("control.safetensors", control_entries(family))).unwrap())
}

fn open(family: &str) -> Pipeline {
    Pipeline::open(file(family, entries(family))).unwrap()
}

/// An image of many colours.
fn image(width: usize, height: usize) -> Image {
    let rgb = (0..3 * width * height).map(|i| (i * 7919 % 251) as u8).collect();
    Image { width, height, rgb }
}

/// Listens and goes on.
fn quiet() -> Box<Listener<'static>> {
    Box::new(|_: Event<'_>| ControlFlow::Continue(()))
}
