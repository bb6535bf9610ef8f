//! Images as OpenAI's clients read them.

use super::parameters::AnswerStyle;
use crate::error::{ApiError, ErrorCode};
use crate::queue::{JobPhase, JobRecord, now};
use crate::state::ServerState;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latent_app::metadata::container;
use latent_app::output::{self, ImageFileFormat};
use latent_app::{AppError, image_file};
use serde::Serialize;
use std::fs::File;
use utoipa::ToSchema;

/// An image.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AnsweredImage {
    /// Its file in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    b64_json: Option<String>,
    /// Its address on this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// The prompt that was drawn, where it is not the one that was given: wildcards are replaced in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    revised_prompt: Option<String>,
}

/// Images.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ImagesAnswer {
    /// Seconds since 1970.
    created: u64,
    data: Vec<AnsweredImage>,
    /// Width and height of the first image.
    #[schema(example = "512x512")]
    size: String,
    /// `png`, `jpeg` or `webp`.
    #[schema(example = "png")]
    output_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'static str>,
    /// `opaque`.
    #[schema(example = "opaque")]
    background: &'static str,
    usage: TokenUsage,
}

/// Tokens, none of which are counted: nobody pays for them here.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(super) struct TokenUsage {
    input_tokens: u64,
    input_tokens_details: TokenDetails,
    output_tokens: u64,
    total_tokens: u64,
}

/// Tokens by their kind.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
struct TokenDetails {
    image_tokens: u64,
    text_tokens: u64,
}

/// Seconds since 1970.
pub(super) fn seconds() -> u64 {
    now() / 1000
}

/// The error of a job that has ended otherwise than well.
pub(super) fn check_ended(record: &JobRecord) -> Result<(), ApiError> {
    match record.phase {
        JobPhase::Done => Ok(()),
        JobPhase::Cancelled => Err(ApiError::new(ErrorCode::Conflict, "the job was cancelled")),
        _ => Err(record.error.clone().unwrap_or_else(|| ApiError::failed("the job failed"))),
    }
}

/// The answer with the images of a job. `base` is the address by which the client knows this server.
pub(super) fn images_answer(
    state: &ServerState,
    record: &JobRecord,
    style: &AnswerStyle,
    base: &str,
) -> Result<ImagesAnswer, ApiError> {
    check_ended(record)?;
    let mut size = String::new();
    let mut data = Vec::new();
    for name in &record.images {
        let info = state.gallery.info(name)?;
        if size.is_empty() {
            size = format!("{}x{}", info.width, info.height);
        }
        let revised_prompt = info.prompt.clone().filter(|prompt| *prompt != style.prompt);
        let (b64_json, url) = if style.is_url {
            (None, Some(format!("{base}{}", info.url)))
        } else {
            (Some(STANDARD.encode(image_bytes(state, name, style.format)?)), None)
        };
        data.push(AnsweredImage { b64_json, url, revised_prompt });
    }
    Ok(ImagesAnswer {
        created: seconds(),
        data,
        size,
        output_format: style.format_name(),
        quality: style.quality,
        background: "opaque",
        usage: TokenUsage::default(),
    })
}

/// The file of an image in a format, with its metadata. A PNG is the file in the gallery, byte for byte.
pub(super) fn image_bytes(
    state: &ServerState,
    name: &str,
    format: ImageFileFormat,
) -> Result<Vec<u8>, ApiError> {
    let path = state.gallery.path(name)?;
    let failed = |error| ApiError::io(name, &error);
    if format == ImageFileFormat::Png {
        return std::fs::read(path).map_err(failed);
    }
    let image = image_file::read(&path)?;
    let texts = container::read(&mut File::open(&path).map_err(failed)?)
        .map_err(|reason| AppError::RunTime(format!("{name}: {reason}")))?;
    let texts: Vec<(&str, String)> =
        texts.iter().map(|text| (text.keyword.as_str(), text.text.clone())).collect();
    Ok(output::file_bytes(&image, format, &texts)?)
}

/// A preview, which is a JPEG as a `data:` URL, in a format and in base64.
pub(super) fn preview_base64(url: &str, format: ImageFileFormat) -> Result<String, ApiError> {
    let base64 = url.split_once(',').map_or(url, |(_, base64)| base64);
    if matches!(format, ImageFileFormat::Jpeg(_)) {
        return Ok(base64.to_owned());
    }
    let bytes = STANDARD.decode(base64).map_err(|error| ApiError::failed(error.to_string()))?;
    let image = image_file::decode_bytes("preview.jpg", &bytes)?;
    Ok(STANDARD.encode(output::file_bytes(&image, format, &[])?))
}
