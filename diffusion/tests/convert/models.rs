//! Synthetic models to convert.

use super::Room;
use latent_benches::{DType, Manifest, synth};
use latent_diffusion::loader::Checkpoint;
use serde_json::{Value, json};
use std::path::Path;

/// The manifest of a tiny checkpoint.
fn manifest(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/manifests");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The tensors of a tiny single file.
pub(crate) fn entries(family: &str) -> Vec<Value> {
    let manifest = manifest(&format!("{family}-tiny-single"));
    let entries = manifest["files"].as_object().unwrap().values().next().unwrap().as_array().unwrap().clone();
    if family.starts_with("sd21") { with_24_layers(entries) } else { entries }
}

pub(crate) fn name(entry: &Value) -> &str {
    entry["name"].as_str().unwrap()
}

/// A text encoder of SD 2.x has 24 layers, by which files without the last are known.
fn with_24_layers(mut entries: Vec<Value>) -> Vec<Value> {
    const BLOCKS: &str = "cond_stage_model.model.transformer.resblocks.";
    let first: Vec<Value> =
        entries.iter().filter(|entry| name(entry).starts_with(&format!("{BLOCKS}0."))).cloned().collect();
    for layer in 4..24 {
        for mut entry in first.clone() {
            entry["name"] = json!(name(&entry).replace(&format!("{BLOCKS}0."), &format!("{BLOCKS}{layer}.")));
            entries.push(entry);
        }
    }
    entries
}

/// SSD-1B's way of leaving out blocks, in SDXL: no attention in the middle, and fewer blocks on the way up.
pub(crate) fn ssd() -> Vec<Value> {
    let is_out = |name: &str| {
        let Some(name) = name.strip_prefix("model.diffusion_model.") else { return false };
        name.starts_with("middle_block.1.")
            || name.starts_with("middle_block.2.")
            || ["output_blocks.1.", "output_blocks.2."].iter().any(|block| name.starts_with(block))
                && name.contains(".transformer_blocks.1.")
    };
    let mut entries = entries("sdxl");
    entries.retain(|entry| !is_out(name(entry)));
    entries
}

/// Writes a single file of these tensors.
pub(crate) fn write(room: &Room, file: &str, entries: Vec<Value>, weights: DType) -> Checkpoint {
    let manifest = Manifest::parse(&json!({"files": {"file": entries}}).to_string()).unwrap();
    std::fs::write(room.path(file), synth::bytes(&manifest.files()["file"], 1, weights)).unwrap();
    room.open(file)
}

/// A tiny model of a family, in f16.
pub(crate) fn model(room: &Room, family: &str) -> Checkpoint {
    write(room, &format!("{family}.safetensors"), entries(family), DType::F16)
}

/// The same numbers as those of the single file, as diffusers lays them out.
pub(crate) fn folder(room: &Room, family: &str) -> Checkpoint {
    let manifest = Manifest::parse(&manifest(&format!("{family}-tiny-diffusers")).to_string()).unwrap();
    synth::write_checkpoint(&manifest, 1, DType::F16, &room.path(family)).unwrap();
    room.open(family)
}
