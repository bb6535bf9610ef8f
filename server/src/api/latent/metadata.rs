//! `/api/v1/metadata`: how an image of any program was made.

use crate::api::blocking;
use crate::api::body::{MAX_BODY_BYTES, body_bytes, check_length};
use crate::error::ApiError;
use crate::state::ServerState;
use axum::Json;
use axum::extract::{Request, State};
use latent_app::job::{Job, JobOption, JobOptionKind, OPTIONS};
use latent_app::metadata::{self, MetadataKey, container};
use latent_app::replay::{Replay, ReplayLayout, ReplayOptions};
use latent_app::{AppError, models};
use serde_json::{Map, Value, json};
use std::io::Cursor;
use std::path::Path;

/// Read how an image was made
///
/// The body is an image file of any known program.
#[utoipa::path(post, path = "/api/v1/metadata", tag = "images",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses(
    (status = 200, description = "The settings, and the job that draws it again", body = Object),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn read(
    State(state): State<ServerState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    check_length(&request, MAX_BODY_BYTES)?;
    let bytes = body_bytes(request.into_body(), MAX_BODY_BYTES).await?;
    blocking(move || Ok(Json(described(&state, "image", &bytes)?))).await
}

/// What the bytes of an image file say of how it was made.
pub(super) fn described(state: &ServerState, name: &str, bytes: &[u8]) -> Result<Value, ApiError> {
    let metadata = metadata::read_from(&mut Cursor::new(bytes))
        .map_err(|reason| AppError::BadInput(format!("{name}: {reason}")))?;
    let texts = container::read(&mut Cursor::new(bytes)).unwrap_or_default();
    let raw: Vec<String> = texts.iter().map(|text| format!("{}: {}", text.keyword, text.text)).collect();
    let replay = replay(state, bytes);
    let (job, not_followed) = match &replay {
        Some(replay) if replay.layout == ReplayLayout::Single => {
            let job = json!({ "verb": replay.job.task.name(), "options": options(&replay.job) });
            (Some(job), replay.not_followed.clone())
        }
        Some(replay) => (None, replay.not_followed.clone()),
        None => (None, Vec::new()),
    };
    let all = metadata.json();
    Ok(json!({
        "program": metadata.program,
        "prompt": metadata.get(MetadataKey::Prompt),
        "negative_prompt": metadata.get(MetadataKey::Negative),
        "settings": all["settings"],
        "others": all["others"],
        "not_followed": not_followed,
        "job": job,
        "replayable": replay.is_some_and(|replay| !replay.needs_image),
        "text": raw.join("\n\n"),
    }))
}

/// What draws an image again, if its files are here.
fn replay(state: &ServerState, bytes: &[u8]) -> Option<Replay> {
    let folder = tempfile::TempDir::new_in(&state.temporary).ok()?;
    let path = folder.path().join("image.png");
    std::fs::write(&path, bytes).ok()?;
    let mut options = ReplayOptions::new(&path);
    options.models_dir = state.models.models_dir().map(Path::to_owned);
    options.folders = vec![state.gallery.folder().to_owned()];
    options.folders.extend(state.options.lora_dir.clone());
    options.only_folders = true;
    Replay::open(&options).ok()
}

/// The options of a job as a request has them.
fn options(job: &Job) -> Map<String, Value> {
    let mut all = Map::new();
    for option in OPTIONS {
        let texts = option.texts(job);
        if texts.is_empty() || matches!(option.name(), "models-dir" | "lora-dir" | "embd-dir" | "wildcards") {
            continue;
        }
        let values: Vec<Value> = texts.iter().map(|text| value(option, text)).collect();
        let value = match option.kind() {
            JobOptionKind::Switch => Value::Bool(true),
            _ if option.is_list() || option.kind() == JobOptionKind::Values => values.into(),
            _ => values.into_iter().next().unwrap_or_default(),
        };
        all.insert(option.name().replace('-', "_"), value);
    }
    all
}

/// A value as a request has it: a number where it is one, of a file its name.
fn value(option: &JobOption, text: &str) -> Value {
    if let Some((path, weight)) = option.file_of(text) {
        let name = models::stem(&path);
        return match weight.strip_prefix(':').and_then(|weight| weight.parse::<f64>().ok()) {
            Some(weight) => json!({ "name": name, "weight": weight }),
            None if matches!(option.name(), "image" | "mask" | "control-image" | "ip-adapter-image") => {
                json!({ "image": path.file_name().map(|name| name.to_string_lossy()) })
            }
            None => name.into(),
        };
    }
    if matches!(option.name(), "prompt" | "negative-prompt") {
        return text.into();
    }
    serde_json::from_str(text).ok().filter(Value::is_number).unwrap_or_else(|| text.into())
}
