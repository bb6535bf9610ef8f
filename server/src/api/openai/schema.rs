//! Bodies as `/openapi.json` describes them. `parameters.rs` reads them field by field, so that an error names its field and
//! a form's texts can be numbers.
#![expect(dead_code, reason = "the fields are read by name; the types only describe them")]

use serde::Deserialize;
use utoipa::ToSchema;

/// An image from words. Other options of Latent's own API are plain fields, too; fields that are not known are ignored.
#[derive(Deserialize, ToSchema)]
pub(super) struct GenerationBody {
    /// What to draw.
    #[schema(example = "a red apple")]
    prompt: String,
    /// A name of `/v1/models`. Names of other services mean the server's default model.
    model: Option<String>,
    /// How many images.
    #[schema(minimum = 1, maximum = 10, default = 1)]
    n: Option<u64>,
    /// `WIDTHxHEIGHT` in pixels, or `auto` for the model's own.
    #[schema(example = "512x512")]
    size: Option<String>,
    /// Nothing depends on it.
    quality: Option<String>,
    /// Nothing depends on it.
    style: Option<String>,
    /// `opaque` or `auto`.
    background: Option<String>,
    /// `png`, `jpeg` or `webp`.
    #[schema(example = "png")]
    output_format: Option<String>,
    /// Quality of a JPEG. PNG and WebP are lossless.
    #[schema(minimum = 0, maximum = 100)]
    output_compression: Option<u64>,
    /// `b64_json`, or `url` for the address of the PNG in this server's gallery.
    #[schema(example = "b64_json")]
    response_format: Option<String>,
    /// Whether to answer with events.
    stream: Option<bool>,
    /// How many events show an unfinished image.
    #[schema(minimum = 0, maximum = 3)]
    partial_images: Option<u64>,
    /// Ignored.
    user: Option<String>,
    /// Ignored.
    moderation: Option<String>,
    /// What not to draw.
    negative_prompt: Option<String>,
    /// The seed of the first image; random for -1.
    #[schema(minimum = -1)]
    seed: Option<i64>,
    /// Sampling steps.
    #[schema(minimum = 1)]
    steps: Option<u64>,
    /// The guidance scale.
    cfg_scale: Option<f64>,
    /// The sampler.
    #[schema(example = "euler")]
    sampler: Option<String>,
    /// The schedule.
    #[schema(example = "karras")]
    scheduler: Option<String>,
}

/// An image redrawn, a part of it drawn anew, or an image changed by an instruction, as the model can.
#[derive(Deserialize, ToSchema)]
pub(super) struct EditForm {
    #[serde(flatten)]
    common: GenerationBody,
    /// The image.
    #[schema(value_type = String, format = Binary)]
    image: Vec<u8>,
    /// An image of the same size: what is transparent in it is drawn anew.
    #[schema(value_type = Option<String>, format = Binary)]
    mask: Option<Vec<u8>>,
    /// How much may change, above 0 and at most 1.
    strength: Option<f64>,
}

/// The same as JSON.
#[derive(Deserialize, ToSchema)]
pub(super) struct EditBody {
    #[serde(flatten)]
    common: GenerationBody,
    /// The image, one of them.
    images: Vec<ImageReference>,
    /// What is transparent in it is drawn anew.
    mask: Option<ImageReference>,
    /// How much may change, above 0 and at most 1.
    strength: Option<f64>,
}

/// An image in a body of JSON.
#[derive(Deserialize, ToSchema)]
pub(super) struct ImageReference {
    /// A `data:` URL. Addresses are not opened.
    #[schema(example = "data:image/png;base64,iVBORw0KGgo=")]
    image_url: String,
}

/// An image like another one.
#[derive(Deserialize, ToSchema)]
pub(super) struct VariationForm {
    /// The image.
    #[schema(value_type = String, format = Binary)]
    image: Vec<u8>,
    /// A name of `/v1/models`. Names of other services mean the server's default model.
    model: Option<String>,
    /// How many images.
    #[schema(minimum = 1, maximum = 10, default = 1)]
    n: Option<u64>,
    /// `WIDTHxHEIGHT` in pixels, or `auto`.
    size: Option<String>,
    /// `b64_json` or `url`.
    response_format: Option<String>,
    /// What it shows; what the image's metadata say, if they do, when absent.
    prompt: Option<String>,
    /// How much may change, above 0 and at most 1; 0.6 when absent.
    strength: Option<f64>,
    /// The seed of the first image.
    seed: Option<i64>,
    /// Sampling steps.
    steps: Option<u64>,
}
