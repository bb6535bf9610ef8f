//! `/sdapi/v1/extra-single-image` and `extra-batch-images`: images made larger.

use super::error::{OF_EXTRAS, WebuiError, refused, renamed};
use super::lenient::{LenientBool, LenientFloat, LenientInt};
use super::request::{self, chosen};
use super::{images, names};
use crate::api::{ClientAddress, JsonBody, blocking};
use crate::error::ApiError;
use crate::queue::{ApiName, JobPhase, JobRecord, JobWait, NewJob};
use crate::request::JobRequest;
use crate::state::ServerState;
use axum::Json;
use axum::extract::{Extension, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latent_app::image_file::{self, BACKGROUND, Resize};
use latent_app::upscale;
use latent_diffusion::MAX_SIDE;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Images of one request.
const MAX_IMAGES: usize = 256;

/// How images are made larger.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub(super) struct ExtrasRequest {
    /// One image in base64 (`extra-single-image`).
    image: Option<String>,
    /// Several (`extra-batch-images`).
    #[serde(rename = "imageList")]
    image_list: Option<Vec<ExtrasFile>>,
    /// 0 by `upscaling_resize`, 1 to `upscaling_resize_w` and `upscaling_resize_h`.
    resize_mode: Option<LenientInt>,
    upscaling_resize: Option<LenientFloat>,
    upscaling_resize_w: Option<LenientInt>,
    upscaling_resize_h: Option<LenientInt>,
    /// Whether what does not fit that size is cut off on both sides.
    upscaling_crop: Option<LenientBool>,
    /// A name of `/sdapi/v1/upscalers`.
    upscaler_1: Option<String>,
    upscaler_2: Option<String>,
    extras_upscaler_2_visibility: Option<LenientFloat>,
    gfpgan_visibility: Option<LenientFloat>,
    codeformer_visibility: Option<LenientFloat>,
    /// Whether the answer has the image.
    show_extras_results: Option<LenientBool>,
}

/// An image of a list.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub(super) struct ExtrasFile {
    /// Base64.
    data: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ExtrasImage {
    html_info: String,
    /// A PNG in base64.
    image: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ExtrasImages {
    html_info: String,
    /// PNG files in base64.
    images: Vec<String>,
}

/// What becomes of an image.
enum Enlarged {
    /// Nothing: a PNG in base64.
    Same(String),
    /// A job makes it larger; then it is cut to a size.
    Job(Box<NewJob>, Option<(usize, usize)>),
}

/// Make an image larger
#[utoipa::path(post, path = "/sdapi/v1/extra-single-image", tag = "a1111", request_body = ExtrasRequest, responses(
    (status = 200, description = "The image", body = ExtrasImage),
    (status = 422, description = "A field that cannot be followed", body = super::error::WebuiErrorBody),
))]
pub(super) async fn single(
    State(state): State<ServerState>,
    Extension(client): Extension<ClientAddress>,
    body: Result<JsonBody<Map<String, Value>>, ApiError>,
) -> Result<Json<ExtrasImage>, WebuiError> {
    let JsonBody(body) = body?;
    let mut request: ExtrasRequest = request::read(&body)?;
    let image = request.image.take().filter(|image| !image.is_empty());
    let image = image.ok_or_else(|| refused("image", "give an image"))?;
    let shows = request.show_extras_results.is_none_or(|shows| shows.0);
    let mut drawn = all(&state, client, request, "image", vec![image]).await?;
    Ok(Json(ExtrasImage { html_info: String::new(), image: drawn.pop().filter(|_| shows) }))
}

/// Make several images larger
#[utoipa::path(post, path = "/sdapi/v1/extra-batch-images", tag = "a1111", request_body = ExtrasRequest, responses(
    (status = 200, description = "The images", body = ExtrasImages),
    (status = 422, description = "A field that cannot be followed", body = super::error::WebuiErrorBody),
))]
pub(super) async fn batch(
    State(state): State<ServerState>,
    Extension(client): Extension<ClientAddress>,
    body: Result<JsonBody<Map<String, Value>>, ApiError>,
) -> Result<Json<ExtrasImages>, WebuiError> {
    let JsonBody(body) = body?;
    let mut request: ExtrasRequest = request::read(&body)?;
    let files = request.image_list.take().ok_or_else(|| refused("imageList", "give the images"))?;
    let shows = request.show_extras_results.is_none_or(|shows| shows.0);
    if files.len() > MAX_IMAGES {
        return Err(
            refused("imageList", &format!("{} images; the maximum is {MAX_IMAGES}", files.len())).into()
        );
    }
    let given = files.into_iter().map(|file| file.data).collect();
    let drawn = all(&state, client, request, "imageList", given).await?;
    let images = if shows { drawn } else { Vec::new() };
    Ok(Json(ExtrasImages { html_info: String::new(), images }))
}

/// Makes images larger, in their order. All are read before the first is drawn.
async fn all(
    state: &ServerState,
    client: ClientAddress,
    request: ExtrasRequest,
    field: &'static str,
    given: Vec<String>,
) -> Result<Vec<String>, ApiError> {
    let own = state.clone();
    let plan = blocking(move || {
        let upscaler = upscaler(&own, &request)?;
        let one = |image: &String| enlarged(&own, client, &request, upscaler.as_deref(), field, image);
        given.iter().map(one).collect::<Result<Vec<_>, _>>()
    });
    let mut drawn = Vec::new();
    for enlarged in plan.await? {
        drawn.push(match enlarged {
            Enlarged::Same(image) => image,
            Enlarged::Job(new, size) => {
                let record = JobWait::submit(state.queue.clone(), *new).await?.ended().await?;
                let own = state.clone();
                blocking(move || result(&own, &record, size)).await?
            }
        });
    }
    Ok(drawn)
}

/// What enlarges; `None` for nothing.
fn upscaler(state: &ServerState, request: &ExtrasRequest) -> Result<Option<String>, ApiError> {
    let is_seen = |value: Option<LenientFloat>| value.is_some_and(|value| value.0 != 0.0);
    for (name, value) in [
        ("gfpgan_visibility", request.gfpgan_visibility),
        ("codeformer_visibility", request.codeformer_visibility),
    ] {
        if is_seen(value) {
            return Err(refused(name, "faces are not restored; give 0"));
        }
    }
    if is_seen(request.extras_upscaler_2_visibility) && chosen(request.upscaler_2.as_deref()).is_some() {
        return Err(refused("upscaler_2", "one upscaler is used; give None"));
    }
    match chosen(request.upscaler_1.as_deref()) {
        None => Ok(None),
        Some(name) if name.eq_ignore_ascii_case("lanczos") => Ok(Some("lanczos".to_owned())),
        Some(name) if upscale::built_in() == Some(name) => Ok(Some(name.to_owned())),
        Some(name) => {
            let found = names::model(state, "upscaler_1", name)?;
            if found.kind.as_deref() == Some("upscaler") {
                return Ok(Some(found.name));
            }
            Err(refused("upscaler_1", &format!("{} is not an upscaler", found.name)))
        }
    }
}

fn enlarged(
    state: &ServerState,
    client: ClientAddress,
    request: &ExtrasRequest,
    upscaler: Option<&str>,
    field: &str,
    image: &str,
) -> Result<Enlarged, ApiError> {
    let given = images::decoded(field, image)?;
    let Some(upscaler) = upscaler else { return Ok(Enlarged::Same(images::png(&given.over(BACKGROUND))?)) };
    let (scale, size) = scale(request, (given.image.width, given.image.height))?;
    let mut options = Map::new();
    options.insert("image".into(), images::value(field, "image.png", image)?);
    options.insert("scale".into(), scale.into());
    options.insert("model".into(), upscaler.into());
    let job = JobRequest { verb: "upscale".into(), options, preview_interval: 0 };
    let new = state.requests.read(job, ApiName::A1111, &client.0.to_string());
    let new = new.map_err(|error| renamed(error, OF_EXTRAS))?;
    Ok(Enlarged::Job(Box::new(new), size))
}

/// How many times as wide and high an image becomes, and the size that it is cut to.
fn scale(
    request: &ExtrasRequest,
    (width, height): (usize, usize),
) -> Result<(f64, Option<(usize, usize)>), ApiError> {
    match request.resize_mode.map_or(0, |mode| mode.0) {
        0 => Ok((request.upscaling_resize.map_or(2.0, |scale| scale.0), None)),
        1 => {
            let side = |name: &str, side: Option<LenientInt>| match side.map_or(512, |side| side.0) {
                side if (1..=MAX_SIDE as i64).contains(&side) => Ok(side as usize),
                side => Err(refused(name, &format!("{side} is not in 1 to {MAX_SIDE}"))),
            };
            let wanted = (
                side("upscaling_resize_w", request.upscaling_resize_w)?,
                side("upscaling_resize_h", request.upscaling_resize_h)?,
            );
            let factor = (wanted.0 as f64 / width as f64).max(wanted.1 as f64 / height as f64);
            if factor < 1.0 {
                return Err(refused(
                    "upscaling_resize_w",
                    "the image is larger; images are not made smaller",
                ));
            }
            let is_cut = request.upscaling_crop.is_none_or(|crop| crop.0);
            // The sides are rounded down.
            Ok((if factor > 1.0 { factor * (1.0 + 1e-9) } else { factor }, is_cut.then_some(wanted)))
        }
        _ => Err(refused("resize_mode", "give 0 or 1")),
    }
}

/// The image of a job that has ended, in base64.
fn result(state: &ServerState, record: &JobRecord, size: Option<(usize, usize)>) -> Result<String, ApiError> {
    match (record.phase, record.images.first()) {
        (JobPhase::Done, Some(name)) => {
            let path = state.gallery.path(name)?;
            let bytes = std::fs::read(path).map_err(|error| ApiError::io(name, &error))?;
            let Some(size) = size else { return Ok(STANDARD.encode(bytes)) };
            let image = image_file::decode_bytes(name, &bytes)?.image;
            if (image.width, image.height) == size {
                return Ok(STANDARD.encode(bytes));
            }
            images::png(&image_file::to_size(&image, size, Resize::Crop))
        }
        (JobPhase::Failed, _) => {
            let error = record.error.clone().unwrap_or_else(|| ApiError::failed("the job failed"));
            Err(renamed(error, OF_EXTRAS))
        }
        _ => Err(ApiError::new(crate::error::ErrorCode::Conflict, "the job was interrupted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_image_becomes_as_large_as_it_is_asked_for() {
        let of = |body: Value, size| {
            let request: ExtrasRequest = request::read(body.as_object().unwrap()).unwrap();
            scale(&request, size).map_err(|error| error.field.unwrap_or_default())
        };
        assert_eq!(of(json!({}), (64, 64)), Ok((2.0, None)));
        assert_eq!(of(json!({ "upscaling_resize": "3" }), (64, 64)), Ok((3.0, None)));
        let to = json!({ "resize_mode": 1, "upscaling_resize_w": 333, "upscaling_resize_h": 100 });
        let (factor, size) = of(to.clone(), (100, 100)).unwrap();
        assert_eq!(((100.0 * factor) as usize, size), (333, Some((333, 100))));
        assert_eq!(of(to, (400, 400)), Err("upscaling_resize_w".to_owned()));
        assert_eq!(of(json!({ "resize_mode": 2 }), (4, 4)), Err("resize_mode".to_owned()));
    }
}
