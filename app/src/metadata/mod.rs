//! How an image was made, according to the metadata in its file.

mod comfy;
pub mod container;
pub mod exif;
mod programs;
mod read;
#[cfg(test)]
mod tests;
mod told;
mod webui;
mod workflow;

pub use told::{Key, Told};

use crate::AppError;
use latent_loader::Plain;
use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Maximum number of characters of a value in [`summary`].
const MAX_VALUE_CHARS: usize = 400;

/// The texts of an image file, by keyword: the webui's `parameters`, and this program's own `latent`.
pub type Texts = [(&'static str, String); 2];

/// A text of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub keyword: String,
    pub text: String,
}

/// What an image's file tells.
///
/// # Errors
/// Bad input, if it cannot be read or tells nothing.
pub fn of(path: &Path) -> Result<Told, AppError> {
    let refuse = |reason: String| AppError::BadInput(format!("{}: {reason}", path.display()));
    let kind = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => refuse("no such file".into()),
        _ => refuse(error.to_string()),
    })?;
    if !kind.is_file() {
        return Err(refuse("is no file; an image is expected".into()));
    }
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    let texts = container::read(&mut BufReader::new(file)).map_err(refuse)?.texts;
    read::read(&texts).ok_or_else(|| {
        refuse(match &texts[..] {
            [] => "tells nothing of how it was made; programs that send images on often remove it".into(),
            texts => format!("has only texts that no known program writes: {}", keywords(texts)),
        })
    })
}

/// Some keywords of the texts.
fn keywords(texts: &[Text]) -> String {
    let some: Vec<_> = texts.iter().take(8).map(|text| clipped(&text.keyword, 40)).collect();
    some.join(", ") + if texts.len() > some.len() { ", …" } else { "" }
}

/// The first characters of a text, with an ellipsis where there are more.
pub fn clipped(text: &str, most: usize) -> String {
    let mut clipped: String = text.chars().take(most).collect();
    if text.chars().nth(most).is_some() {
        clipped.push('…');
    }
    clipped
}

/// The settings as lines of text for a person, safe to print on a terminal.
pub fn summary(told: &Told) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Further lines of a prompt are set in, so that none looks like a setting.
        let lines: Vec<_> = value.lines().map(|line| Plain(line).to_string()).collect();
        let _ = writeln!(out, "{}: {}", Plain(&clipped(name, 80)), lines.join("\n  "));
    };
    line("program", &told.program);
    for (key, value) in told.settings() {
        line(&key.name().replace('_', " "), value);
    }
    for (name, value) in &told.others {
        line(name, &clipped(value, MAX_VALUE_CHARS));
    }
    let files = told.own.as_ref().and_then(|own| own.get("files")?.as_array());
    for file in files.into_iter().flatten() {
        let text = |key| file.get(key).and_then(serde_json::Value::as_str).unwrap_or("");
        line(text("flag"), &format!("{} (SHA-256 {})", text("name"), text("sha256")));
    }
    out
}
