//! `/api/v1/info` and `/api/v1/samplers`

use crate::api::{MAX_BODY_BYTES, blocking};
use crate::error::ApiError;
use crate::models::BUILT_IN;
use crate::request::{MAX_STEPS, VERBS};
use crate::state::{ServerState, device_name};
use axum::Json;
use axum::extract::State;
use latent_app::image_file::{self, Resize};
use latent_app::job::{Job, JobOption, JobOptionKind, JobTask, OPTIONS, built_in_upscalers};
use latent_app::samplers;
use latent_diffusion::names::Named;
use latent_diffusion::rng::RngKind;
use latent_diffusion::samplers::Prediction;
use latent_diffusion::{Fill, MAX_SIDE};
use serde_json::{Value, json};

/// Maximum number of images of a job.
const MAX_BATCH: usize = 10_000;

/// Ask what the server can do
#[utoipa::path(get, path = "/api/v1/info", tag = "server", responses(
    (status = 200, description = "Version, folders, limits, and the values that options can have", body = Object),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn info(State(state): State<ServerState>) -> Result<Json<Value>, ApiError> {
    blocking(move || Ok(Json(of(&state)))).await
}

fn of(state: &ServerState) -> Value {
    let options = &state.options;
    let name = options.default_model.as_deref().unwrap_or(BUILT_IN);
    let models = state.models.list();
    let default = models.iter().find(|model| model.name == name);
    let folders: Vec<Value> = state
        .models
        .folders()
        .iter()
        .map(|folder| json!({ "path": folder.display().to_string(), "exists": folder.is_dir() }))
        .collect();
    let devices = options.devices.iter().map(device_name).map(|id| json!({ "id": id, "name": id }));
    let list = samplers::list();
    let entry = |name: &str, label: &str| json!({ "id": name, "name": label });
    let upscalers = models.iter().filter(|model| model.kind.as_deref() == Some("upscaler"));
    let upscalers = upscalers.map(|model| model.name.clone());
    let upscalers: Vec<String> = built_in_upscalers().map(str::to_owned).chain(upscalers).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "auth_required": state.access.needs_key(),
        "output_dir": options.output_dir.display().to_string(),
        "model_folders": folders,
        "default_model": default,
        "devices": devices.collect::<Vec<_>>(),
        "shared_queue": has_shared_queue(state),
        "limits": {
            "max_width": MAX_SIDE,
            "max_height": MAX_SIDE,
            "max_steps": MAX_STEPS,
            "max_batch": MAX_BATCH,
            "max_body_bytes": MAX_BODY_BYTES,
            "max_image_pixels": image_file::MAX_PIXELS,
            "queue": { "max_jobs": options.max_queue, "max_jobs_per_client": options.max_queue_per_client },
        },
        "samplers": list.samplers.iter().map(|own| entry(own.name, own.label)).collect::<Vec<_>>(),
        "schedulers": list.schedules.iter().map(|own| entry(own.name, own.label)).collect::<Vec<_>>(),
        "resize_modes": names::<Resize>(&Resize::ALL),
        "fills": names::<Fill>(Fill::ALL),
        "rngs": names::<RngKind>(RngKind::ALL),
        "predictions": names::<Prediction>(Prediction::ALL),
        "upscalers": upscalers,
        "verbs": VERBS,
        "options": OPTIONS.iter().map(option).collect::<Vec<_>>(),
    })
}

/// Whether other machines draw.
fn has_shared_queue(state: &ServerState) -> bool {
    #[cfg(feature = "nats")]
    return state.front.is_some();
    #[cfg(not(feature = "nats"))]
    {
        let _ = state;
        false
    }
}

fn names<N: Named + 'static>(all: &[N]) -> Vec<&'static str> {
    all.iter().map(Named::name).collect()
}

fn option(option: &JobOption) -> Value {
    let has = |verb: &&&str| {
        let task = JobTask::named(verb).unwrap_or_default();
        option.applies_to(&Job::new(task, ""))
    };
    let kind = match option.kind() {
        JobOptionKind::Switch => "switch",
        JobOptionKind::Values => "values",
        JobOptionKind::List => "list",
        JobOptionKind::File => "file",
        JobOptionKind::Files => "files",
        JobOptionKind::WeightedFiles => "weighted_files",
        JobOptionKind::Upscaler => "upscaler",
        _ => "value",
    };
    let verbs: Vec<&&str> = JobTask::NAMES.iter().filter(has).collect();
    json!({ "name": option.name().replace('-', "_"), "kind": kind, "verbs": verbs })
}

/// List the samplers and schedules, with when to use which
#[utoipa::path(get, path = "/api/v1/samplers", tag = "server", responses(
    (status = 200, description = "As `latent samplers --json`", body = Object),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn samplers() -> Json<Value> {
    Json(json!(samplers::list()))
}
