//! Images in requests: base64, with or without `data:` before it. Addresses are never fetched.

use super::error::refused;
use crate::error::ApiError;
use crate::request::inline_image;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latent_app::image_file::{self, InputImage};
use latent_app::output;
use latent_diffusion::Image;
use serde_json::{Value, json};

/// The bare base64 of an image.
pub(super) fn bare(field: &str, text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    let base64 = match text.strip_prefix("data:") {
        Some(rest) => match rest.split_once(',') {
            Some((kind, base64)) if kind.ends_with(";base64") => base64,
            _ => return Err(refused(field, "is a data: URL without base64")),
        },
        None => text,
    };
    let head = base64.get(..base64.len().min(32)).unwrap_or_default();
    if head.contains("://") || text.starts_with("file:") {
        return Err(refused(field, "addresses are not fetched; give the image itself, in base64"));
    }
    Ok(base64.chars().filter(|c| !c.is_ascii_whitespace()).collect())
}

/// The bytes of an image.
pub(super) fn bytes(field: &str, text: &str) -> Result<Vec<u8>, ApiError> {
    let read = inline_image("image.png", &bare(field, text)?);
    read.map(|image| image.bytes.to_vec()).map_err(|error| of_field(field, error))
}

/// An image that is decoded.
pub(super) fn decoded(field: &str, text: &str) -> Result<InputImage, ApiError> {
    let bytes = bytes(field, text)?;
    image_file::decode_bytes(field, &bytes).map_err(|error| ApiError::from(error).at(field))
}

fn of_field(field: &str, mut error: ApiError) -> ApiError {
    if let Some(rest) = error.message.strip_prefix("image: ") {
        error.message = format!("{field}: {rest}");
    }
    error.at(field)
}

/// An image as a request for a job has it.
pub(super) fn value(field: &str, name: &str, text: &str) -> Result<Value, ApiError> {
    Ok(json!({ "base64": bare(field, text)?, "name": name }))
}

/// The same of pixels.
pub(super) fn value_of(name: &str, image: &Image) -> Result<Value, ApiError> {
    Ok(json!({ "base64": png(image)?, "name": name }))
}

/// Pixels as a PNG in base64.
pub(super) fn png(image: &Image) -> Result<String, ApiError> {
    Ok(STANDARD.encode(output::png(image)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_refused_and_base64_is_taken_with_and_without_its_kind() {
        for address in
            ["http://a/b.png", " https://a/b.png", "file:///etc/passwd", "data:image/png,abc", "ftp://a"]
        {
            assert_eq!(bare("mask", address).unwrap_err().field.as_deref(), Some("mask"), "{address}");
        }
        assert_eq!(bare("mask", "data:image/png;base64,AA\nAA").unwrap(), "AAAA");
        assert_eq!(bytes("mask", "AAAA").unwrap(), [0, 0, 0]);
        assert!(bytes("mask", "A*").unwrap_err().message.starts_with("mask: the base64 is damaged"));
    }
}
