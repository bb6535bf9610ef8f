//! Words in the metadata and in the name of a file.

use latent_loader::Checkpoint;
use std::path::Path;

/// An entry of the metadata; in a folder, of the UNet's file.
pub(crate) fn metadata<'a>(checkpoint: &'a Checkpoint, key: &str) -> Option<&'a String> {
    let metadata = checkpoint.metadata();
    metadata.get(key).or_else(|| metadata.get(&format!("unet.{key}")))
}

/// Words of the title in the metadata, in lower case.
pub(crate) fn title(checkpoint: &Checkpoint) -> Vec<String> {
    metadata(checkpoint, "modelspec.title").map_or(Vec::new(), |title| split(title))
}

/// Words of the file's name, in lower case.
pub(crate) fn file_name(checkpoint: &Checkpoint) -> Vec<String> {
    split(&Path::new(checkpoint.label()).file_name().unwrap_or_default().to_string_lossy())
}

/// The words of a text, in lower case.
pub(crate) fn split(text: &str) -> Vec<String> {
    text.to_lowercase().split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()
}
