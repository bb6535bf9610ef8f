//! What there is: models, samplers, upscalers and others, as the webui lists them. Files are named by their place in their
//! folder; no answer says where that is.

use super::error::WebuiError;
use super::names;
use crate::api::blocking;
use crate::models::ModelInfo;
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use latent_app::{samplers, upscale};
use latent_diffusion::schedule::ScheduleKind;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A model.
#[derive(Serialize, ToSchema)]
pub(super) struct WebuiModel {
    /// The name by which `sd_model_checkpoint` calls it.
    title: String,
    model_name: String,
    /// The first digits of its SHA-256, once it was drawn with.
    hash: Option<String>,
    sha256: Option<String>,
    filename: String,
    config: Option<String>,
}

async fn of_models(
    state: ServerState,
    kinds: &'static [&'static str],
    show: impl Fn(&ServerState, &ModelInfo) -> Value + Send + 'static,
) -> Result<Json<Vec<Value>>, WebuiError> {
    let listed = blocking(move || {
        let models = state.models.list();
        let is_kind = |model: &&ModelInfo| model.kind.as_deref().is_some_and(|kind| kinds.contains(&kind));
        Ok(models.iter().filter(is_kind).map(|model| show(&state, model)).collect())
    });
    Ok(Json(listed.await?))
}

/// List the models
#[utoipa::path(get, path = "/sdapi/v1/sd-models", tag = "a1111", responses(
    (status = 200, description = "Those that draw by themselves", body = Vec<WebuiModel>),
))]
pub(super) async fn sd_models(State(state): State<ServerState>) -> Result<Json<Vec<WebuiModel>>, WebuiError> {
    let listed = blocking(move || {
        let models = state.models.list();
        let show = |model: &ModelInfo| {
            let sha256 = names::sha256(&state, model);
            WebuiModel {
                title: names::title(&state, model),
                model_name: model.name.clone(),
                hash: sha256.as_deref().map(|sha256| latent_app::hash::short(sha256).to_owned()),
                sha256,
                filename: names::file_name(model),
                config: None,
            }
        };
        Ok(models.iter().filter(|model| model.draws).map(show).collect())
    });
    Ok(Json(listed.await?))
}

/// List the samplers
#[utoipa::path(get, path = "/sdapi/v1/samplers", tag = "a1111", responses(
    (status = 200, description = "Name, aliases and options of each", body = Vec<Object>),
))]
pub(super) async fn samplers() -> Json<Vec<Value>> {
    let show = |sampler: &samplers::SamplerEntry| {
        let own = std::iter::once(sampler.name).chain(sampler.aliases.iter().copied());
        let aliases: Vec<&str> = own.filter(|alias| *alias != sampler.label).collect();
        json!({ "name": sampler.label, "aliases": aliases, "options": { "scheduler": sampler.scheduler } })
    };
    Json(samplers::list().samplers.iter().map(show).collect())
}

/// List the schedules
#[utoipa::path(get, path = "/sdapi/v1/schedulers", tag = "a1111", responses(
    (status = 200, description = "Name and label of each; automatic is the sampler's own", body = Vec<Object>),
))]
pub(super) async fn schedulers() -> Json<Vec<Value>> {
    let automatic = json!({
        "name": "automatic", "label": "Automatic", "aliases": null, "default_rho": -1, "need_inner_model": false,
    });
    let show = |schedule: &samplers::ScheduleEntry| {
        let rho = match ScheduleKind::parse(schedule.name) {
            Ok(ScheduleKind::Karras) => 7.0,
            Ok(ScheduleKind::Polyexponential) => 1.0,
            _ => -1.0,
        };
        json!({
            "name": schedule.name,
            "label": schedule.label,
            "aliases": schedule.aliases,
            "default_rho": rho,
            "need_inner_model": false,
        })
    };
    Json(std::iter::once(automatic).chain(samplers::list().schedules.iter().map(show)).collect())
}

/// List the upscalers
#[utoipa::path(get, path = "/sdapi/v1/upscalers", tag = "a1111", responses(
    (status = 200, description = "None, Lanczos, the built-in network and the files", body = Vec<Object>),
))]
pub(super) async fn upscalers(State(state): State<ServerState>) -> Result<Json<Vec<Value>>, WebuiError> {
    let entry = |name: &str, path: Value, scale: f64| json!({ "name": name, "model_name": null, "model_path": path, "model_url": null, "scale": scale });
    let Json(files) = of_models(state, &["upscaler"], move |_, model| {
        entry(&model.name, names::file_name(model).into(), 4.0)
    })
    .await?;
    let mut all = vec![entry("None", Value::Null, 4.0), entry("Lanczos", Value::Null, 4.0)];
    all.extend(upscale::built_in().map(|name| entry(name, Value::Null, 4.0)));
    all.extend(files);
    Ok(Json(all))
}

/// List the ways to enlarge latents
#[utoipa::path(get, path = "/sdapi/v1/latent-upscale-modes", tag = "a1111", responses(
    (status = 200, description = "For the second pass", body = Vec<Object>),
))]
pub(super) async fn latent_upscale_modes() -> Json<Value> {
    Json(json!([{ "name": "Latent" }, { "name": "Latent (nearest)" }]))
}

fn file(_: &ServerState, model: &ModelInfo) -> Value {
    json!({ "model_name": names::file_name(model), "filename": names::file_name(model) })
}

/// List the VAEs
#[utoipa::path(get, path = "/sdapi/v1/sd-vae", tag = "a1111", responses(
    (status = 200, description = "Files", body = Vec<Object>),
))]
pub(super) async fn sd_vae(State(state): State<ServerState>) -> Result<Json<Vec<Value>>, WebuiError> {
    of_models(state, &["vae"], file).await
}

/// List the VAEs and text encoders
#[utoipa::path(get, path = "/sdapi/v1/sd-modules", tag = "a1111", responses(
    (status = 200, description = "Files", body = Vec<Object>),
))]
pub(super) async fn sd_modules(State(state): State<ServerState>) -> Result<Json<Vec<Value>>, WebuiError> {
    of_models(state, &["vae", "text-encoder"], file).await
}

/// List the LoRAs
#[utoipa::path(get, path = "/sdapi/v1/loras", tag = "a1111", responses(
    (status = 200, description = "Name, alias, file and metadata of each", body = Vec<Object>),
))]
pub(super) async fn loras(State(state): State<ServerState>) -> Result<Json<Vec<Value>>, WebuiError> {
    of_models(state, &["lora"], |state, model| {
        let metadata = names::checkpoint(state, model).map(|checkpoint| json!(checkpoint.metadata()));
        let alias =
            metadata.as_ref().and_then(|metadata| metadata["ss_output_name"].as_str()).unwrap_or(&model.name);
        json!({
            "name": model.name,
            "alias": alias,
            "path": names::file_name(model),
            "metadata": metadata.clone().unwrap_or(json!({})),
        })
    })
    .await
}

/// List the textual inversions
#[utoipa::path(get, path = "/sdapi/v1/embeddings", tag = "a1111", responses(
    (status = 200, description = "By name", body = Object),
))]
pub(super) async fn embeddings(State(state): State<ServerState>) -> Result<Json<Value>, WebuiError> {
    let Json(all) = of_models(state, &["embedding"], |state, model| {
        let checkpoint = names::checkpoint(state, model);
        // A vector for each token.
        let shape =
            checkpoint.as_ref().and_then(|checkpoint| Some(checkpoint.tensors().next()?.shape.clone()));
        let (vectors, length) = match shape.as_deref() {
            Some([vectors, length]) => (*vectors, *length),
            Some([length]) => (1, *length),
            _ => (0, 0),
        };
        json!({
            "name": model.name, "step": null, "sd_checkpoint": null, "sd_checkpoint_name": null,
            "shape": length, "vectors": vectors,
        })
    })
    .await?;
    let loaded: serde_json::Map<String, Value> = all
        .into_iter()
        .map(|mut entry| {
            let name = entry.as_object_mut().and_then(|entry| entry.remove("name"));
            (name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default(), entry)
        })
        .collect();
    Ok(Json(json!({ "loaded": loaded, "skipped": {} })))
}

/// List the upscalers that are files
#[utoipa::path(get, path = "/sdapi/v1/realesrgan-models", tag = "a1111", responses(
    (status = 200, description = "Files", body = Vec<Object>),
))]
pub(super) async fn realesrgan_models(
    State(state): State<ServerState>,
) -> Result<Json<Vec<Value>>, WebuiError> {
    of_models(
        state,
        &["upscaler"],
        |_, model| json!({ "name": model.name, "path": names::file_name(model), "scale": null }),
    )
    .await
}

/// List what this server does not have
#[utoipa::path(get, path = "/sdapi/v1/hypernetworks", tag = "a1111", responses(
    (status = 200, description = "None", body = Vec<Object>),
))]
pub(super) async fn hypernetworks() -> Json<Vec<Value>> {
    Json(Vec::new())
}

/// List what this server does not have
#[utoipa::path(get, path = "/sdapi/v1/face-restorers", tag = "a1111", responses(
    (status = 200, description = "None", body = Vec<Object>),
))]
pub(super) async fn face_restorers() -> Json<Vec<Value>> {
    Json(Vec::new())
}

/// List what this server does not have
#[utoipa::path(get, path = "/sdapi/v1/prompt-styles", tag = "a1111", responses(
    (status = 200, description = "None", body = Vec<Object>),
))]
pub(super) async fn prompt_styles() -> Json<Vec<Value>> {
    Json(Vec::new())
}

/// List what this server does not have
#[utoipa::path(get, path = "/sdapi/v1/extensions", tag = "a1111", responses(
    (status = 200, description = "None", body = Vec<Object>),
))]
pub(super) async fn extensions() -> Json<Vec<Value>> {
    Json(Vec::new())
}

/// List the scripts
#[utoipa::path(get, path = "/sdapi/v1/scripts", tag = "a1111", responses(
    (status = 200, description = "ControlNet", body = Object),
))]
pub(super) async fn scripts() -> Json<Value> {
    Json(json!({ "txt2img": ["controlnet"], "img2img": ["controlnet"] }))
}

/// List the scripts with their arguments
#[utoipa::path(get, path = "/sdapi/v1/script-info", tag = "a1111", responses(
    (status = 200, description = "ControlNet", body = Vec<Object>),
))]
pub(super) async fn script_info() -> Json<Value> {
    let entry = |is_img2img| json!({ "name": "controlnet", "is_alwayson": true, "is_img2img": is_img2img, "args": [] });
    Json(json!([entry(false), entry(true)]))
}
