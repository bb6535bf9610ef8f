//! Requests with images: which verb they become, and their images as that verb takes them.

use super::fields::{RequestFields, UploadedFile, bad};
use super::parameters::{AnswerStyle, ImageParameters};
use crate::error::ApiError;
use crate::request::JobRequest;
use crate::state::ServerState;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latent_app::image_file::{self, InputImage, Resize};
use latent_app::job::InlineImage;
use latent_app::metadata::{self, MetadataKey};
use latent_app::output;
use latent_diffusion::{Image, Mask};
use serde_json::{Value, json};
use std::io::Cursor;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How much of an image a variation may change: its composition stays.
const VARIATION_STRENGTH: f64 = 0.6;
/// Images that are decoded at once, as each may have 64 million pixels.
static DECODING: Semaphore = Semaphore::const_new(2);

/// Waits for the right to decode images.
pub(super) async fn decoding() -> Result<SemaphorePermit<'static>, ApiError> {
    DECODING.acquire().await.map_err(|error| ApiError::failed(error.to_string()))
}

/// The job of an edit: `inpaint` with a mask or with an image that has transparent parts, `edit` by a model that follows
/// instructions, and otherwise `img2img`. This decodes the images.
pub(super) fn edit(
    state: &ServerState,
    mut fields: RequestFields,
) -> Result<(JobRequest, AnswerStyle), ApiError> {
    let image = needed_image(state, &mut fields)?;
    let mask = image_of(state, &mut fields, "mask", &["mask"])?;
    let mut parameters = ImageParameters::read(fields, "image_edit", true)?;
    let model = parameters.find_model(state)?;
    let can = |verb: &str| model.as_ref().is_none_or(|model| model.verbs.iter().any(|own| own == verb));
    let is_instructed = model.is_some() && can("edit") && !can("img2img");
    if is_instructed && mask.is_some() {
        return Err(bad("mask", "this model follows instructions and takes no mask; choose another model"));
    }
    let given = decoded(&image, "image")?;
    let hole = given.hole().filter(has_hole);
    let verb = match (is_instructed, mask.is_some() || hole.is_some()) {
        (true, _) => "edit",
        (_, true) => "inpaint",
        _ => "img2img",
    };
    if verb == "inpaint" {
        set_masked(&mut parameters, &image, given, mask.as_ref())?;
    } else {
        parameters.options.insert("image".into(), value_of(&image.name, &image.bytes));
    }
    parameters.into_job(verb, model.as_ref())
}

/// The job of a variation: `img2img` with the prompt of the image's metadata, if they have one. This decodes the image.
pub(super) fn vary(
    state: &ServerState,
    mut fields: RequestFields,
) -> Result<(JobRequest, AnswerStyle), ApiError> {
    let image = needed_image(state, &mut fields)?;
    decoded(&image, "image")?;
    let mut parameters = ImageParameters::read(fields, "image_edit", false)?;
    if parameters.style.prompt.is_empty() {
        let found = metadata::read_from(&mut Cursor::new(&image.bytes)).unwrap_or_default();
        parameters.style.prompt = found.get(MetadataKey::Prompt).unwrap_or_default().to_owned();
    }
    parameters.options.entry("strength").or_insert(VARIATION_STRENGTH.into());
    parameters.options.insert("image".into(), value_of(&image.name, &image.bytes));
    let model = parameters.find_model(state)?;
    parameters.into_job("img2img", model.as_ref())
}

/// The image of a request, which is `image` of a form or one of `images` in JSON.
fn needed_image(state: &ServerState, fields: &mut RequestFields) -> Result<InlineImage, ApiError> {
    image_of(state, fields, "image", &["image", "images"])?.ok_or_else(|| bad("image", "is needed"))
}

/// The only image of some fields.
fn image_of(
    state: &ServerState,
    fields: &mut RequestFields,
    shown: &str,
    names: &[&str],
) -> Result<Option<InlineImage>, ApiError> {
    let mut given = Vec::new();
    for name in names {
        let files = fields.files(name);
        given.extend(files.iter().map(|UploadedFile { name, bytes }| value_of(name, bytes)));
        match fields.take(name) {
            Some(Value::Array(values)) => given.extend(values),
            // An empty field of a form has no file.
            Some(Value::String(text)) if text.is_empty() => {}
            value => given.extend(value),
        }
    }
    if given.len() > 1 {
        return Err(bad(shown, &format!("{} are given; one is what is drawn from", given.len())));
    }
    let Some(value) = given.pop() else { return Ok(None) };
    if value.get("file_id").is_some() {
        return Err(bad(shown, "this server keeps no files; send the image itself"));
    }
    let value = value.get("image_url").unwrap_or(&value);
    state.requests.image(value).map(Some).map_err(|error| error.at(shown))
}

/// An image as requests have it.
fn value_of(name: &str, bytes: &[u8]) -> Value {
    json!({ "name": name, "base64": STANDARD.encode(bytes) })
}

fn decoded(image: &InlineImage, field: &str) -> Result<InputImage, ApiError> {
    image_file::decode_bytes(&image.name, &image.bytes).map_err(|error| ApiError::from(error).at(field))
}

/// Whether there is something that cannot be seen at all.
fn has_hole(mask: &Mask) -> bool {
    mask.values.contains(&u8::MAX)
}

/// Sets image and mask of a part that is drawn anew. OpenAI's masks say it by transparency, those of jobs by white.
fn set_masked(
    parameters: &mut ImageParameters,
    image: &InlineImage,
    given: InputImage,
    mask: Option<&InlineImage>,
) -> Result<(), ApiError> {
    let own = (given.image.width, given.image.height);
    let hole = match mask {
        Some(mask) => decoded(mask, "mask")?
            .hole()
            .filter(has_hole)
            .ok_or_else(|| bad("mask", "has no transparent part, which is what is drawn anew"))?,
        None => given.hole().unwrap_or(Mask { width: own.0, height: own.1, values: Vec::new() }),
    };
    if (hole.width, hole.height) != own {
        let line = format!(
            "is {}x{} and the image {}x{}; make them the same size",
            hole.width, hole.height, own.0, own.1
        );
        return Err(bad("mask", &line));
    }
    let options = &mut parameters.options;
    let only_masked = options.get("only-masked").is_some_and(|value| value == true);
    let size = parameters.style.size.filter(|size| *size != own);
    if only_masked && let Some((width, height)) = size {
        options.insert("width".into(), width.into());
        options.insert("height".into(), height.into());
    }
    let Some(size) = size.filter(|_| !only_masked) else {
        options.insert("image".into(), value_of(&image.name, &image.bytes));
        if mask.is_some() {
            options.insert("mask".into(), value_of("mask.png", &output::png(&grey(&hole))?));
        }
        return Ok(());
    };
    check_size(size)?;
    if mask.is_none() {
        options.entry("fill").or_insert("nearest".into());
    }
    let image_of_size = if mask.is_some() { given.over(image_file::BACKGROUND) } else { given.image };
    for (name, whole) in [("image", image_of_size), ("mask", grey(&hole))] {
        let cropped = image_file::to_size(&whole, size, Resize::Crop);
        options.insert(name.into(), value_of(&format!("{name}.png"), &output::png(&cropped)?));
    }
    Ok(())
}

/// Refuses a size to which no image is brought here.
fn check_size((width, height): (usize, usize)) -> Result<(), ApiError> {
    if (width as u64).saturating_mul(height as u64) <= image_file::MAX_PIXELS {
        return Ok(());
    }
    Err(bad(
        "size",
        &format!("{width}x{height} are more than {} million pixels", image_file::MAX_PIXELS / 1_000_000),
    ))
}

/// A mask as an image.
fn grey(mask: &Mask) -> Image {
    let rgb = mask.values.iter().flat_map(|value| [*value; 3]).collect();
    Image { width: mask.width, height: mask.height, rgb }
}
