//! The texts beside the tensors (`__metadata__`): kept, but for what is no longer true.
//!
//! Keys of the Model Metadata Standard (`modelspec.`, <https://github.com/Stability-AI/ModelSpec>) tell what weights do not
//! show. What was told by a file's name or a folder's configuration, which the new file does not have, is written down.

use super::{Layout, Options};
use crate::families::{FILE_NAME, Identity, Model};
use crate::samplers::Prediction;
use latent_loader::Checkpoint;
use std::collections::BTreeMap;
use std::path::Path;

type Texts = BTreeMap<String, String>;

const HASH: &str = "modelspec.hash_sha256";
const IMPLEMENTATION: &str = "modelspec.implementation";
const MERGED: &str = "modelspec.merged_from";
const PREDICTION: &str = "modelspec.prediction_type";
const TITLE: &str = "modelspec.title";
/// Says that tensors are PyTorch's; transformers refuses a file without it.
const FORMAT: (&str, &str) = ("format", "pt");

/// The texts of the file that holds the UNet.
pub(super) fn of_unet(model: &Model, checkpoint: &Checkpoint, options: &Options) -> Texts {
    let mut texts = of_component(checkpoint, "unet");
    let is_folder = options.layout == Layout::Folder;
    if !is_folder
        && checkpoint.metadata().get("unet.format").is_none()
        && !checkpoint.metadata().contains_key(FORMAT.0)
    {
        texts.remove(FORMAT.0);
    }
    texts.remove(HASH);
    match texts.get_mut(IMPLEMENTATION) {
        Some(told) if is_folder => "diffusers".clone_into(told),
        Some(told) if told.as_str() == "diffusers" => {
            let project = if model.unet.added_dim.is_some() {
                "Stability-AI/generative-models"
            } else {
                "CompVis/stable-diffusion"
            };
            *told = format!("https://github.com/{project}");
        }
        _ => {}
    }
    if !options.loras.is_empty() {
        let files = options
            .loras
            .iter()
            .map(|(lora, strength)| format!("{} ({})", stem(lora.label()), strength.unet));
        let before = texts.get(MERGED).cloned();
        let all: Vec<String> = before.into_iter().chain(files).collect();
        texts.insert(MERGED.to_owned(), all.join(", "));
    }
    if !is_folder && is_unsaid(model, checkpoint) {
        let name = if model.prediction == Prediction::V { "v" } else { "epsilon" };
        texts.insert(PREDICTION.to_owned(), name.to_owned());
    }
    let by_name = |(_, by)| by == FILE_NAME || model.named_steps.is_some();
    if Identity::of(checkpoint).distilled.is_some_and(by_name) {
        let name = stem(checkpoint.label());
        match texts.get_mut(TITLE) {
            Some(title) if !title.contains(&name) => *title = format!("{title} ({name})"),
            Some(_) => {}
            None => drop(texts.insert(TITLE.to_owned(), name)),
        }
    }
    texts
}

/// The texts of a file of a folder that holds another part.
pub(super) fn of_component(checkpoint: &Checkpoint, component: &str) -> Texts {
    let scope = format!("{component}.");
    let below = |(key, text): (&String, &String)| Some((key.strip_prefix(&scope)?.to_owned(), text.clone()));
    let mut texts: Texts = match checkpoint.config(component) {
        Some(_) => checkpoint.metadata().iter().filter_map(below).collect(),
        // A single file's all go to the UNet.
        None if component == "unet" => checkpoint.metadata().clone(),
        None => Texts::new(),
    };
    texts.entry(FORMAT.0.to_owned()).or_insert_with(|| FORMAT.1.to_owned());
    texts
}

/// Whether a single file must be told what the UNet predicts, because the tensors and texts that it is made of do not.
pub(super) fn is_unsaid(model: &Model, checkpoint: &Checkpoint) -> bool {
    Identity::of(checkpoint)
        .prediction
        .is_none_or(|told| told.prediction != model.prediction || !told.is_by_contents())
}

fn stem(label: &str) -> String {
    let path = Path::new(label);
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.map_or_else(|| label.to_owned(), |name| name.to_string_lossy().into_owned())
}
