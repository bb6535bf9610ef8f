//! How an image was made, according to the metadata in its file.

mod comfy;
mod comfy_graph;
mod comfy_loras;
mod comfy_nodes;
mod comfy_text;
pub mod container;
mod detect;
pub mod exif;
mod image_metadata;
mod json;
mod programs;
#[cfg(test)]
mod tests;
mod texts;
mod webui;

pub use image_metadata::{ImageMetadata, MetadataKey};
pub use texts::{MetadataText, OutputTexts};

use crate::AppError;
use crate::input_file::open_image;
use crate::text::clipped;
use latent_loader::Plain;
use std::fmt;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

/// Maximum number of characters of a value in [`summary`].
const MAX_VALUE_CHARS: usize = 400;
/// Maximum number of characters of a name in [`summary`].
const MAX_NAME_CHARS: usize = 80;
/// Maximum number of keywords, and of characters of each, in an error.
const MAX_KEYWORDS: usize = 8;
const MAX_KEYWORD_CHARS: usize = 40;

/// Reads the metadata of a PNG, JPEG or WebP file, whatever known program wrote it.
///
/// # Errors
/// Bad input, if the file cannot be read, or does not say how its image was made.
pub fn read(path: &Path) -> Result<ImageMetadata, AppError> {
    let refuse = |reason: String| AppError::BadInput(format!("{}: {reason}", path.display()));
    let (file, _) = open_image(path)?;
    read_from(&mut BufReader::new(file)).map_err(refuse)
}

/// Reads the metadata of a PNG, JPEG or WebP file that is open. Its time and memory are bounded, whatever is in it.
///
/// # Errors
/// The rest of a line that begins with the file's name: it cannot be read, has more than the bounds of `docs/metadata.md`,
/// or does not say how its image was made.
pub fn read_from(file: &mut (impl Read + Seek)) -> Result<ImageMetadata, String> {
    let texts = container::read(file)?;
    detect::detect(&texts)?.ok_or_else(|| match &texts[..] {
        [] => "does not say how it was made; programs that send images on often remove that".into(),
        texts => format!("has only texts that no known program writes: {}", keywords(texts)),
    })
}

/// The keywords of the first texts.
fn keywords(texts: &[MetadataText]) -> String {
    let first: Vec<_> =
        texts.iter().take(MAX_KEYWORDS).map(|text| clipped(&text.keyword, MAX_KEYWORD_CHARS)).collect();
    first.join(", ") + if texts.len() > first.len() { ", …" } else { "" }
}

/// The settings as lines of text for a person, safe to print on a terminal.
#[must_use]
pub fn summary(metadata: &ImageMetadata) -> String {
    MetadataSummary(metadata).to_string()
}

/// Shows metadata as [`summary`] does, without a copy of it in memory.
#[derive(Clone, Copy, Debug)]
pub struct MetadataSummary<'a>(pub &'a ImageMetadata);

impl fmt::Display for MetadataSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = self.0;
        let mut line = |name: &str, value: &str| {
            write!(f, "{}: ", Plain(&clipped(name, MAX_NAME_CHARS)))?;
            for (at, line) in value.lines().enumerate() {
                // Further lines of a prompt are indented, so that none looks like a setting.
                let indent = if at == 0 { "" } else { "\n  " };
                write!(f, "{indent}{}", Plain(line))?;
            }
            f.write_str("\n")
        };
        line("program", &metadata.program)?;
        for (key, value) in metadata.settings() {
            line(&key.name().replace('_', " "), value)?;
        }
        for (name, value) in &metadata.others {
            line(name, &clipped(value, MAX_VALUE_CHARS))?;
        }
        if !metadata.not_followed.is_empty() {
            line("not followed", &metadata.not_followed.join(", "))?;
        }
        let files = metadata.own.as_ref().and_then(|own| own.get("files")?.as_array());
        for file in files.into_iter().flatten() {
            let text = |key| file.get(key).and_then(serde_json::Value::as_str).unwrap_or("");
            line(text("flag"), &format!("{} (SHA-256 {})", text("name"), text("sha256")))?;
        }
        Ok(())
    }
}
