//! How an image was made, according to the metadata in its file.

mod comfy;
mod comfy_workflow;
pub mod container;
mod detect;
pub mod exif;
mod image_metadata;
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
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Seek};
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
    let (file, _) = open_image(path)?;
    read_from(&path.display().to_string(), &mut BufReader::new(file))
}

/// The same of a file that is in memory or elsewhere; `name` is for messages.
///
/// # Errors
/// As [`read`].
pub fn read_from(name: &str, file: &mut (impl BufRead + Seek)) -> Result<ImageMetadata, AppError> {
    let refuse = |reason: String| AppError::BadInput(format!("{name}: {reason}"));
    let texts = container::read(file).map_err(refuse)?;
    detect::detect(&texts).ok_or_else(|| {
        refuse(match &texts[..] {
            [] => "does not say how it was made; programs that send images on often remove that".into(),
            texts => format!("has only texts that no known program writes: {}", keywords(texts)),
        })
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
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Further lines of a prompt are indented, so that none looks like a setting.
        let lines: Vec<_> = value.lines().map(|line| Plain(line).to_string()).collect();
        let _ = writeln!(out, "{}: {}", Plain(&clipped(name, MAX_NAME_CHARS)), lines.join("\n  "));
    };
    line("program", &metadata.program);
    for (key, value) in metadata.settings() {
        line(&key.name().replace('_', " "), value);
    }
    for (name, value) in &metadata.others {
        line(name, &clipped(value, MAX_VALUE_CHARS));
    }
    let files = metadata.own.as_ref().and_then(|own| own.get("files")?.as_array());
    for file in files.into_iter().flatten() {
        let text = |key| file.get(key).and_then(serde_json::Value::as_str).unwrap_or("");
        line(text("flag"), &format!("{} (SHA-256 {})", text("name"), text("sha256")));
    }
    out
}
