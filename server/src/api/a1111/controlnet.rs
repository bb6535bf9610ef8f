//! `/controlnet`, the addresses of the extension of that name.

use super::control::{MODULES, contrasts, is_control};
use super::error::{WebuiError, refused, renamed};
use super::lenient::{LenientFloat, LenientInt};
use super::request;
use super::{images, names};
use crate::api::{JsonBody, blocking};
use crate::error::ApiError;
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use latent_app::AppError;
use latent_app::image_file::{self, BACKGROUND};
use latent_diffusion::controlnet::{Canny, canny};
use latent_diffusion::{Image, MAX_SIDE};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// Units of one request at most.
const MAX_UNITS: usize = 8;
/// Images at once, and the maximum of their shorter side in pixels.
const MAX_IMAGES: usize = 16;
const MAX_RESOLUTION: usize = 2048;
/// Shorter side in pixels in which edges are found, unless it is given.
const RESOLUTION: usize = 512;

/// Ask which version of the extension's API this is
#[utoipa::path(get, path = "/controlnet/version", tag = "a1111", responses((status = 200, description = "2", body = Object)))]
pub(super) async fn version() -> Json<Value> {
    Json(json!({ "version": 2 }))
}

/// List the ControlNets
#[utoipa::path(get, path = "/controlnet/model_list", tag = "a1111", responses(
    (status = 200, description = "Their names", body = Object),
))]
pub(super) async fn models(State(state): State<ServerState>) -> Result<Json<Value>, WebuiError> {
    let listed = blocking(move || {
        let models = state.models.list();
        let nets = models.iter().filter(|model| is_control(model.kind.as_deref()));
        Ok(nets.map(names::file_name).collect::<Vec<_>>())
    });
    Ok(Json(json!({ "model_list": listed.await? })))
}

/// List what can be done with an image before a network sees it
#[utoipa::path(get, path = "/controlnet/module_list", tag = "a1111", responses(
    (status = 200, description = "Names, and what can be set of each", body = Object),
))]
pub(super) async fn modules() -> Json<Value> {
    let [low, high] = super::control::CANNY;
    let slider =
        |name: &str, value: f64| json!({ "name": name, "value": value, "min": 1, "max": 255, "step": 1 });
    let resolution = json!({ "name": "Resolution", "value": RESOLUTION, "min": 64, "max": 2048, "step": 8 });
    Json(json!({
        "module_list": MODULES,
        "module_detail": {
            "none": { "model_free": false, "sliders": [] },
            "canny": {
                "model_free": false,
                "sliders": [resolution, slider("Low Threshold", low), slider("High Threshold", high)],
            },
        },
    }))
}

/// List what belongs together
#[utoipa::path(get, path = "/controlnet/control_types", tag = "a1111", responses(
    (status = 200, description = "Networks and what is done with images, by kind", body = Object),
))]
pub(super) async fn control_types(state: State<ServerState>) -> Result<Json<Value>, WebuiError> {
    let Json(mut models) = models(state).await?;
    let models = models["model_list"].take();
    let of = |modules: &[&str], module: &str| json!({ "module_list": modules, "model_list": models, "default_option": module, "default_model": "None" });
    Ok(Json(json!({ "control_types": { "All": of(&MODULES, "none"), "Canny": of(&["canny"], "canny") } })))
}

/// Ask how many units there are
#[utoipa::path(get, path = "/controlnet/settings", tag = "a1111", responses((status = 200, description = "Their number", body = Object)))]
pub(super) async fn settings() -> Json<Value> {
    Json(json!({ "control_net_unit_count": MAX_UNITS }))
}

/// What is to be found in images.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub(super) struct DetectRequest {
    /// `none` or `canny`
    controlnet_module: Option<String>,
    /// Base64.
    controlnet_input_images: Option<Vec<String>>,
    /// The same by another name.
    controlnet_images: Option<Vec<String>>,
    /// The shorter side in which edges are found.
    controlnet_processor_res: Option<LenientInt>,
    controlnet_threshold_a: Option<LenientFloat>,
    controlnet_threshold_b: Option<LenientFloat>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct DetectedImages {
    /// PNG files in base64.
    images: Vec<String>,
    info: &'static str,
}

/// See what a network would see
#[utoipa::path(post, path = "/controlnet/detect", tag = "a1111", request_body = DetectRequest, responses(
    (status = 200, description = "The images", body = DetectedImages),
    (status = 422, description = "A field that cannot be followed", body = super::error::WebuiErrorBody),
))]
pub(super) async fn detect(
    body: Result<JsonBody<Map<String, Value>>, ApiError>,
) -> Result<Json<DetectedImages>, WebuiError> {
    let JsonBody(body) = body?;
    Ok(Json(blocking(move || detected(&body)).await?))
}

fn detected(body: &Map<String, Value>) -> Result<DetectedImages, ApiError> {
    let request: DetectRequest = request::read(body)?;
    let module = request.controlnet_module.as_deref().unwrap_or("none").to_lowercase();
    if !MODULES.contains(&module.as_str()) {
        let line = format!("{module:?} is not one of {}", MODULES.join(", "));
        return Err(refused("controlnet_module", &line));
    }
    let masks = body.get("controlnet_masks").and_then(Value::as_array);
    if masks.is_some_and(|masks| !masks.is_empty()) {
        return Err(refused("controlnet_masks", "cannot be followed; leave it out"));
    }
    let given = request.controlnet_input_images.or(request.controlnet_images).unwrap_or_default();
    if given.is_empty() || given.len() > MAX_IMAGES {
        return Err(refused("controlnet_input_images", &format!("give 1 to {MAX_IMAGES} images")));
    }
    let side = match request.controlnet_processor_res.map_or(-1, |side| side.0) {
        side if side < 0 => RESOLUTION,
        side if (64..=MAX_RESOLUTION as i64).contains(&side) => side as usize,
        _ => return Err(refused("controlnet_processor_res", &format!("give 64 to {MAX_RESOLUTION}"))),
    };
    let threshold = |value: Option<LenientFloat>| value.map_or(-1.0, |value| value.0);
    let [low, high] =
        contrasts(threshold(request.controlnet_threshold_a), threshold(request.controlnet_threshold_b));
    let one = |text: &String| {
        let image = images::decoded("controlnet_input_images", text)?.over(BACKGROUND);
        if module == "none" {
            return images::png(&image);
        }
        let found = canny(&with_shorter_side(&image, side), &Canny { low, high, ..Canny::default() });
        let of_threshold =
            |error| renamed(AppError::from(error).into(), &[("canny", "controlnet_threshold_a")]);
        images::png(&found.map_err(of_threshold)?)
    };
    let images = given.iter().map(one).collect::<Result<_, _>>()?;
    Ok(DetectedImages { images, info: "Success" })
}

/// An image whose shorter side has so many pixels, and whose sides are multiples of 64, as the extension makes them.
fn with_shorter_side(image: &Image, side: usize) -> Image {
    let factor = side as f64 / image.width.min(image.height).max(1) as f64;
    let sized = |own: usize| {
        let rounded = (own as f64 * factor / 64.0).round() as usize * 64;
        rounded.clamp(64, MAX_SIDE)
    };
    image_file::resized(image, sized(image.width), sized(image.height))
}
