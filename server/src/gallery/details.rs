//! What is known of an image in the gallery.

use latent_app::image_file;
use latent_app::metadata::{self, ImageMetadata, MetadataKey};
use serde::Serialize;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};
use utoipa::ToSchema;

/// An image in the gallery. What its file does not say is null.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ImageInfo {
    /// Its name.
    pub name: String,
    /// Where its file can be fetched.
    pub url: String,
    /// Where a small JPEG of it can be fetched.
    pub thumbnail: String,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Bytes of its file.
    pub bytes: u64,
    /// When it was written.
    pub created: String,
    /// The prompt.
    pub prompt: Option<String>,
    /// The negative prompt.
    pub negative_prompt: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// The seed.
    pub seed: Option<u64>,
    /// Sampling steps.
    pub steps: Option<usize>,
    /// The sampler.
    pub sampler: Option<String>,
    /// The guidance scale.
    pub cfg_scale: Option<f64>,
    /// The job that drew it.
    pub job: Option<String>,
}

impl ImageInfo {
    /// Reads the header and the metadata of an image file.
    pub(super) fn read(name: &str, path: &Path, bytes: u64, created: u64) -> ImageInfo {
        let (width, height) = image_file::size(path).unwrap_or((0, 0));
        let found = metadata::read(path).unwrap_or_default();
        let url = format!("/api/v1/images/{}", encoded(name));
        ImageInfo {
            name: name.to_owned(),
            thumbnail: format!("{url}/thumbnail"),
            url,
            width,
            height,
            bytes,
            created: humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(created))
                .to_string(),
            prompt: text(&found, MetadataKey::Prompt),
            negative_prompt: text(&found, MetadataKey::Negative),
            model: text(&found, MetadataKey::Model),
            seed: number(&found, MetadataKey::Seed),
            steps: number(&found, MetadataKey::Steps),
            sampler: text(&found, MetadataKey::Sampler),
            cfg_scale: number(&found, MetadataKey::CfgScale).filter(|scale: &f64| scale.is_finite()),
            job: job_of(name),
        }
    }

    /// Whether it has all the words in its prompts or its name, and is of that model and seed.
    pub(super) fn fits(&self, words: &[String], model: &str, seed: Option<u64>) -> bool {
        let of = |text: &Option<String>| text.as_deref().unwrap_or("").to_lowercase();
        let texts = [of(&self.prompt), of(&self.negative_prompt), self.name.to_lowercase()];
        let has = |word: &String| texts.iter().any(|text| text.contains(word.as_str()));
        words.iter().all(has)
            && (model.is_empty() || of(&self.model).contains(model))
            && seed.is_none_or(|seed| self.seed == Some(seed))
    }
}

fn text(metadata: &ImageMetadata, key: MetadataKey) -> Option<String> {
    metadata.get(key).map(str::to_owned)
}

fn number<T: FromStr>(metadata: &ImageMetadata, key: MetadataKey) -> Option<T> {
    metadata.get(key)?.trim().parse().ok()
}

/// The job that a name of ours says.
fn job_of(name: &str) -> Option<String> {
    let mut parts = name.split(['-', '.']);
    let is_digits = |part: &&str, digits| part.len() >= digits && part.bytes().all(|b| b.is_ascii_digit());
    parts.next().filter(|day| is_digits(day, 8))?;
    parts.next().filter(|time| is_digits(time, 6))?;
    let id: u64 = parts.next().filter(|id| is_digits(id, 5))?.parse().ok()?;
    Some(id.to_string())
}

/// A name as it stands in an address.
pub(crate) fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_job_drew_it() {
        assert_eq!(job_of("20261129-043226-00042-7.png").as_deref(), Some("42"));
        for other in ["a.png", "20261129-043226.png", "2026-11-29.png", "x-1-2.png"] {
            assert_eq!(job_of(other), None, "{other}");
        }
        assert_eq!(encoded("a b#é.png"), "a%20b%23%C3%A9.png");
    }
}
