//! The metadata of a file (`__metadata__`): kept, except for what is no longer true.
//!
//! Keys of the Model Metadata Standard (`modelspec.`, <https://github.com/Stability-AI/ModelSpec>) state what weights do not
//! show. What followed from a file's name or a folder's configuration, which the new file does not have, is added.

use super::{ConvertOptions, OutputLayout};
use crate::families::{Evidence, Model, Probe};
use crate::samplers::Prediction;
use latent_loader::Checkpoint;
use std::collections::BTreeMap;
use std::path::Path;

type MetadataMap = BTreeMap<String, String>;

const HASH: &str = "modelspec.hash_sha256";
const IMPLEMENTATION: &str = "modelspec.implementation";
const MERGED: &str = "modelspec.merged_from";
const PREDICTION: &str = "modelspec.prediction_type";
const TITLE: &str = "modelspec.title";
/// Says that tensors are PyTorch's; transformers refuses a file without it.
const FORMAT: (&str, &str) = ("format", "pt");

/// The metadata of the file that contains the UNet.
pub(super) fn of_unet(model: &Model, probe: &Probe, options: &ConvertOptions) -> MetadataMap {
    let checkpoint = probe.checkpoint();
    let mut texts = of_component(checkpoint, "unet");
    let is_folder = options.layout == OutputLayout::Folder;
    if !is_folder
        && checkpoint.metadata().get("unet.format").is_none()
        && !checkpoint.metadata().contains_key(FORMAT.0)
    {
        texts.remove(FORMAT.0);
    }
    texts.remove(HASH);
    if options.layout == OutputLayout::Gguf {
        texts.remove(FORMAT.0);
    }
    // Of a file that had another layout.
    texts.retain(|key, _| !key.starts_with("general.") && !key.starts_with("comfy.gguf."));
    match texts.get_mut(IMPLEMENTATION) {
        Some(text) if is_folder => "diffusers".clone_into(text),
        Some(text) if text.as_str() == "diffusers" => {
            let project = if model.takes_sizes() {
                "Stability-AI/generative-models"
            } else {
                "CompVis/stable-diffusion"
            };
            *text = format!("https://github.com/{project}");
        }
        _ => {}
    }
    add_merged(&mut texts, options);
    if !is_folder && is_unstated(model, probe) {
        let name = if model.prediction == Prediction::V { "v" } else { "epsilon" };
        texts.insert(PREDICTION.to_owned(), name.to_owned());
    }
    let distillation = &probe.identity().distillation;
    if distillation.is_some_and(|it| it.evidence == Evidence::FileName || model.named_steps.is_some()) {
        add_name(&mut texts, checkpoint);
    }
    texts
}

/// The metadata of a file whose tensors keep their names.
pub(super) fn of_kept_names(probe: &Probe, options: &ConvertOptions) -> MetadataMap {
    let checkpoint = probe.checkpoint();
    let mut texts = checkpoint.metadata().clone();
    texts.retain(|key, _| !key.starts_with("general.") && !key.starts_with("comfy.gguf."));
    texts.remove(HASH);
    if options.layout == OutputLayout::Gguf {
        texts.remove(FORMAT.0);
    } else {
        texts.entry(FORMAT.0.to_owned()).or_insert_with(|| FORMAT.1.to_owned());
    }
    add_merged(&mut texts, options);
    let distillation = &probe.identity().distillation;
    if distillation.is_some_and(|it| it.evidence == Evidence::FileName) {
        add_name(&mut texts, checkpoint);
    }
    texts
}

/// Writes down which LoRAs were merged in.
fn add_merged(texts: &mut MetadataMap, options: &ConvertOptions) {
    if options.loras.is_empty() {
        return;
    }
    let files =
        options.loras.iter().map(|(lora, strength)| format!("{} ({})", stem(lora.label()), strength.unet));
    let before = texts.get(MERGED).cloned();
    let all: Vec<String> = before.into_iter().chain(files).collect();
    texts.insert(MERGED.to_owned(), all.join(", "));
}

/// Writes down the name of the file, which said what the model is.
fn add_name(texts: &mut MetadataMap, checkpoint: &Checkpoint) {
    let name = stem(checkpoint.label());
    match texts.get_mut(TITLE) {
        Some(title) if !title.contains(&name) => *title = format!("{title} ({name})"),
        Some(_) => {}
        None => drop(texts.insert(TITLE.to_owned(), name)),
    }
}

/// The metadata of a file of a folder that contains another part.
pub(super) fn of_component(checkpoint: &Checkpoint, component: &str) -> MetadataMap {
    let scope = format!("{component}.");
    let below = |(key, text): (&String, &String)| Some((key.strip_prefix(&scope)?.to_owned(), text.clone()));
    let mut texts: MetadataMap = match checkpoint.config(component) {
        Some(_) => checkpoint.metadata().iter().filter_map(below).collect(),
        // All metadata of a single file go to the UNet.
        None if component == "unet" => checkpoint.metadata().clone(),
        None => MetadataMap::new(),
    };
    texts.entry(FORMAT.0.to_owned()).or_insert_with(|| FORMAT.1.to_owned());
    texts
}

/// Whether a single file must state what the UNet predicts, because its tensors and metadata would not show it.
pub(super) fn is_unstated(model: &Model, probe: &Probe) -> bool {
    let detected = probe.identity().prediction.as_ref();
    detected.is_none_or(|detected| detected.prediction != model.prediction || !detected.evidence.is_in_file())
}

fn stem(label: &str) -> String {
    let path = Path::new(label);
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.map_or_else(|| label.to_owned(), |name| name.to_string_lossy().into_owned())
}
