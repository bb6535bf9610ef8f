//! Images of a request.

use crate::error::{ApiError, ErrorCode};
use crate::gallery::{Gallery, is_plain};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use latent_app::image_file;
use latent_app::job::InlineImage;
use serde_json::Value;

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Name of an image that has none.
const NAMELESS: &str = "image.png";

/// Where images come from.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub(super) gallery: &'a Gallery,
}

impl Images<'_> {
    /// The image of a value: `{"image": NAME}` of the gallery, `{"base64": ..., "name": ...}` or a `data:` URL.
    pub(super) fn of(&self, value: &Value) -> Result<InlineImage, ApiError> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        if let Some(name) = text("image") {
            let path = self.gallery.path(name)?;
            let bytes = std::fs::read(path).map_err(|error| ApiError::io(name, &error))?;
            return Ok(InlineImage { name: name.to_owned(), bytes: bytes.into() });
        }
        if let Some(base64) = text("base64") {
            return inline(text("name").unwrap_or(NAMELESS), base64);
        }
        match value.as_str() {
            Some(url) => match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
                Some((_, base64)) => inline(NAMELESS, base64),
                None => Err(refused("a text must be a data: URL; addresses and paths are not opened")),
            },
            None => Err(refused("give {\"image\": NAME} of the gallery, {\"base64\": ...} or a data: URL")),
        }
    }
}

fn refused(line: &str) -> ApiError {
    ApiError::bad_input(format!("image: {line}"))
}

/// An image of a request in base64.
///
/// # Errors
/// Damaged base64, no bytes or too many.
pub(crate) fn inline(name: &str, base64: &str) -> Result<InlineImage, ApiError> {
    let bytes = BASE64.decode(base64).map_err(|error| refused(&format!("the base64 is damaged: {error}")))?;
    if bytes.is_empty() {
        return Err(refused("has no bytes"));
    }
    if bytes.len() as u64 > image_file::MAX_FILE_BYTES {
        return Err(ApiError::new(ErrorCode::TooLarge, format!("image: has {} bytes", bytes.len())));
    }
    // The name is recorded, and is that of a temporary file.
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let name = if is_plain(last) { last } else { NAMELESS };
    Ok(InlineImage { name: name.to_owned(), bytes: bytes.into() })
}
