//! `/sdapi/v1/options`: what is set for the requests that follow, and `override_settings`, which are the same for one request.

use super::error::{WebuiError, refused};
use super::lenient::number_of;
use super::names;
use super::request::chosen;
use crate::api::{JsonBody, blocking};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::webui::KeptSettings;
use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

/// Settings of the webui that would change images, and cannot be changed here.
fn fixed() -> [(&'static str, Value); 21] {
    [
        ("samples_format", json!("png")),
        ("eta_noise_seed_delta", json!(0)),
        ("initial_noise_multiplier", json!(1.0)),
        ("img2img_color_correction", json!(false)),
        ("token_merging_ratio", json!(0.0)),
        ("token_merging_ratio_hr", json!(0.0)),
        ("s_min_uncond", json!(0.0)),
        ("skip_early_cond", json!(0.0)),
        ("tiling", json!(false)),
        ("face_restoration", json!(false)),
        ("s_churn", json!(0.0)),
        ("s_tmin", json!(0.0)),
        ("s_noise", json!(1.0)),
        ("rho", json!(0.0)),
        ("sigma_min", json!(0.0)),
        ("sigma_max", json!(0.0)),
        ("always_discard_next_to_last_sigma", json!(false)),
        ("sgm_noise_multiplier", json!(false)),
        ("inpainting_mask_weight", json!(1.0)),
        ("return_mask", json!(false)),
        ("return_mask_composite", json!(false)),
    ]
}

fn is_same(own: &Value, given: &Value) -> bool {
    own == given || given.is_null() || number_of(own).is_some_and(|own| number_of(given) == Some(own))
}

/// Changes settings as a client says. What is not known is passed over.
pub(super) fn apply(
    state: &ServerState,
    settings: &mut KeptSettings,
    given: &Map<String, Value>,
) -> Result<(), ApiError> {
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        let text = || value.as_str().ok_or_else(|| refused(name, "is not a text"));
        match name.as_str() {
            "sd_model_checkpoint" => {
                settings.model = match chosen(Some(text()?)) {
                    Some(title) => Some(names::drawing_model(state, name, title)?.name),
                    None => None,
                };
            }
            "sd_vae" => {
                settings.vae = match chosen(Some(text()?)) {
                    None | Some("Automatic" | "automatic") => None,
                    Some(file) => Some(of_kind(state, name, file, &["vae"])?.0),
                };
            }
            "forge_additional_modules" => modules(state, settings, name, value)?,
            "CLIP_stop_at_last_layers" => {
                let number =
                    number_of(value).filter(|number| number.fract() == 0.0 && (1.0..=12.0).contains(number));
                let number =
                    number.ok_or_else(|| refused(name, "is not a whole number of 1 to 12"))? as usize;
                settings.clip_skip = (number > 1).then_some(number);
            }
            "randn_source" => {
                settings.rng = match text()?.to_uppercase().as_str() {
                    "GPU" | "NV" => None,
                    "CPU" => Some("cpu".to_owned()),
                    _ => return Err(refused(name, "give CPU or NV")),
                };
            }
            _ => {
                if let Some((_, own)) =
                    fixed().iter().find(|(fixed, own)| fixed == name && !is_same(own, value))
                {
                    return Err(refused(name, &format!("cannot be changed; it is {own} here")));
                }
            }
        }
    }
    Ok(())
}

/// VAE and text encoders that Forge calls modules.
fn modules(
    state: &ServerState,
    settings: &mut KeptSettings,
    name: &str,
    value: &Value,
) -> Result<(), ApiError> {
    let files = value.as_array().ok_or_else(|| refused(name, "is not a list"))?;
    let files = files.iter().filter_map(|file| chosen(file.as_str()));
    let files: Vec<&str> = files.filter(|file| *file != "Use same choices").collect();
    settings.text_encoders.clear();
    for file in files {
        let (file, kind) = of_kind(state, name, file, &["vae", "text-encoder"])?;
        if kind == "vae" {
            settings.vae = Some(file);
        } else {
            settings.text_encoders.push(file);
        }
    }
    Ok(())
}

/// The name and kind of a file that must be of one of these kinds.
fn of_kind(
    state: &ServerState,
    field: &str,
    given: &str,
    kinds: &[&str],
) -> Result<(String, String), ApiError> {
    let found = names::model(state, field, given)?;
    let kind = found.kind.unwrap_or_default();
    if kinds.contains(&kind.as_str()) {
        return Ok((found.name, kind));
    }
    Err(refused(field, &format!("{} is a {kind}, not a {}", found.name, kinds.join(" or a "))))
}

/// The settings as the webui lists them.
fn listed(state: &ServerState) -> Result<Value, ApiError> {
    let kept = state.webui.get();
    let model = names::current(state, kept.model.as_deref()).or_else(|_| names::current(state, None));
    let file =
        |name: &String| state.models.info(name).map_or_else(|_| name.clone(), |file| names::file_name(&file));
    let mut all: Map<String, Value> =
        fixed().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let own = json!({
        "sd_model_checkpoint": model.as_ref().ok().map(|model| names::title(state, model)),
        "sd_checkpoint_hash": model.ok().and_then(|model| names::sha256(state, &model)),
        "sd_vae": kept.vae.as_ref().map_or_else(|| "Automatic".to_owned(), file),
        "forge_additional_modules": kept.text_encoders.iter().map(file).collect::<Vec<_>>(),
        "CLIP_stop_at_last_layers": kept.clip_skip.unwrap_or(1),
        "randn_source": if kept.rng.as_deref() == Some("cpu") { "CPU" } else { "NV" },
        "samples_save": true,
        "grid_save": false,
        "return_grid": false,
        "enable_pnginfo": true,
        "live_previews_enable": true,
        "show_progress_every_n_steps": 1,
        "face_restoration_model": null,
    });
    if let Value::Object(own) = own {
        all.extend(own);
    }
    Ok(Value::Object(all))
}

/// Ask what is set
#[utoipa::path(get, path = "/sdapi/v1/options", tag = "a1111", responses(
    (status = 200, description = "Settings by name", body = Object),
))]
pub(super) async fn options(State(state): State<ServerState>) -> Result<Json<Value>, WebuiError> {
    Ok(Json(blocking(move || listed(&state)).await?))
}

/// Set the model, the VAE, the layers of the text encoder and the random numbers
///
/// They hold for the requests of this API that follow. Names that are not known are passed over.
#[utoipa::path(post, path = "/sdapi/v1/options", tag = "a1111", request_body = Object, responses(
    (status = 200, description = "They are set"),
    (status = 422, description = "A value that is not possible", body = super::error::WebuiErrorBody),
))]
pub(super) async fn set_options(
    State(state): State<ServerState>,
    body: Result<JsonBody<Map<String, Value>>, ApiError>,
) -> Result<Json<()>, WebuiError> {
    let JsonBody(given) = body?;
    let set = blocking(move || state.webui.change(|settings| apply(&state, settings, &given)));
    set.await?;
    Ok(Json(()))
}
