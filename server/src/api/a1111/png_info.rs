//! `/sdapi/v1/png-info`: how an image was made.

use super::error::{WebuiError, refused};
use super::{images, request};
use crate::api::{JsonBody, blocking};
use crate::error::ApiError;
use axum::Json;
use latent_app::image_file;
use latent_app::metadata::{self, ImageMetadata, MetadataKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::io::Cursor;
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
pub(super) struct PngInfoRequest {
    /// Base64.
    image: Option<String>,
}

/// How an image was made. What it does not say is empty.
#[derive(Serialize, ToSchema)]
pub(super) struct PngInfo {
    /// The webui's text.
    info: String,
    /// All texts of the file.
    #[schema(value_type = Object)]
    items: Map<String, Value>,
    /// The settings by the webui's names.
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
}

/// What the webui calls the settings of all programs.
const NAMES: [(MetadataKey, &str); 15] = [
    (MetadataKey::Prompt, "Prompt"),
    (MetadataKey::Negative, "Negative prompt"),
    (MetadataKey::Steps, "Steps"),
    (MetadataKey::Sampler, "Sampler"),
    (MetadataKey::Scheduler, "Schedule type"),
    (MetadataKey::CfgScale, "CFG scale"),
    (MetadataKey::Seed, "Seed"),
    (MetadataKey::Width, "Size-1"),
    (MetadataKey::Height, "Size-2"),
    (MetadataKey::Model, "Model"),
    (MetadataKey::ModelHash, "Model hash"),
    (MetadataKey::Vae, "VAE"),
    (MetadataKey::Strength, "Denoising strength"),
    (MetadataKey::ClipSkip, "Clip skip"),
    (MetadataKey::Rng, "RNG"),
];

/// Read how an image was made
#[utoipa::path(post, path = "/sdapi/v1/png-info", tag = "a1111", request_body = PngInfoRequest, responses(
    (status = 200, description = "Its texts and settings", body = PngInfo),
    (status = 422, description = "Not an image", body = super::error::WebuiErrorBody),
))]
pub(super) async fn png_info(
    body: Result<JsonBody<Map<String, Value>>, ApiError>,
) -> Result<Json<PngInfo>, WebuiError> {
    let JsonBody(body) = body?;
    let PngInfoRequest { image } = request::read(&body)?;
    let image = image.ok_or_else(|| refused("image", "give an image"))?;
    Ok(Json(blocking(move || of(&images::bytes("image", &image)?)).await?))
}

fn of(bytes: &[u8]) -> Result<PngInfo, ApiError> {
    let mut file = Cursor::new(bytes);
    let texts = match metadata::container::read(&mut file) {
        Ok(texts) => texts,
        // Formats without texts say nothing.
        Err(_) if image_file::decode_bytes("image", bytes).is_ok() => Vec::new(),
        Err(reason) => return Err(refused("image", &reason)),
    };
    let found = metadata::read_from(&mut Cursor::new(bytes)).unwrap_or_default();
    let items: Map<String, Value> =
        texts.iter().map(|text| (text.keyword.clone(), json!(text.text))).collect();
    let text = ["parameters", "UserComment"].into_iter().find_map(|keyword| items.get(keyword)?.as_str());
    let info = text.unwrap_or("").to_owned();
    Ok(PngInfo { parameters: parameters(&found), info, items })
}

fn parameters(metadata: &ImageMetadata) -> Map<String, Value> {
    let others = metadata.others.iter().map(|(name, value)| (name.clone(), json!(value)));
    let own = NAMES.iter().filter_map(|(key, name)| Some(((*name).to_owned(), json!(metadata.get(*key)?))));
    others.chain(own).collect()
}
