//! `/api/v1/inspect`: what a file on the client's disk is, from its header alone.

use crate::api::blocking;
use crate::api::body::{body_bytes, check_length};
use crate::error::ApiError;
use crate::models::usable_verbs;
use crate::state::ServerState;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use latent_app::inspect::ModelReport;
use latent_diffusion::families::{Model, ModelKind};
use latent_loader::Checkpoint;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::IntoParams;

/// Maximum size of a header, as the loader has it, with its length before it.
const MAX_HEADER_BYTES: usize = (100 << 20) + 8;

#[derive(Deserialize, IntoParams)]
pub(super) struct HeaderQuery {
    /// The file's name.
    name: Option<String>,
    /// Bytes of the whole file.
    #[param(minimum = 0)]
    bytes: Option<u64>,
}

/// Find out what a model file is, from its header
///
/// The body is the beginning of a .safetensors file: the 8 bytes of the header's length, and the header.
#[utoipa::path(post, path = "/api/v1/inspect", tag = "models", params(HeaderQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses(
    (status = 200, description = "As `latent inspect --json --tensors`, with what it can be used for", body = Object),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn inspect(
    State(state): State<ServerState>,
    query: Result<Query<HeaderQuery>, QueryRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let query = crate::api::query(query)?;
    check_length(&request, MAX_HEADER_BYTES)?;
    let head = body_bytes(request.into_body(), MAX_HEADER_BYTES).await?;
    // Few at a time: taken apart a header is several times as large.
    let _turn = state.inspecting.acquire().await.map_err(|error| ApiError::failed(error.to_string()))?;
    blocking(move || {
        let name = query.name.as_deref().unwrap_or("file.safetensors");
        let name: String = name.rsplit(['/', '\\']).next().unwrap_or(name).chars().take(255).collect();
        let bytes = query.bytes.unwrap_or(head.len() as u64);
        let checkpoint = Checkpoint::of_header(&name, head.into(), bytes);
        let checkpoint = checkpoint.map_err(|error| ApiError::bad_input(error.to_string()))?;
        Ok(Json(with_advice(&Arc::new(checkpoint), true)))
    })
    .await
}

/// The report of a checkpoint with what it can be used for, and what is missing.
pub(super) fn with_advice(checkpoint: &Arc<Checkpoint>, lists_tensors: bool) -> Value {
    let mut report = ModelReport::of(checkpoint);
    report.lists_tensors = lists_tensors;
    let kind = report.identity.kind;
    let model = report.model.is_some().then(|| Model::detect(checkpoint).ok()).flatten();
    let draws = kind == ModelKind::Model && report.model.is_some();
    let mut value = json!(report);
    value["draws"] = draws.into();
    value["verbs"] = json!(usable_verbs(kind, model.as_ref()));
    value["advice"] = json!(advice(&report, draws));
    value
}

/// Lines that say what to do with a file.
fn advice(report: &ModelReport, draws: bool) -> Vec<String> {
    let identity = &report.identity;
    let mut lines = Vec::new();
    let family = identity.family_label().map_or(String::new(), |family| format!(" of {family}"));
    match identity.kind {
        ModelKind::Model if draws => {
            lines.push("Put it into a model folder; then it can be chosen as the model.".into());
        }
        ModelKind::Lora => {
            lines.push(format!("Put it into the folder of LoRAs; then add it to a model{family}."));
        }
        ModelKind::Embedding => {
            lines.push(format!(
                "Put it into the folder of embeddings; its name in a prompt{family} then stands for it."
            ));
        }
        ModelKind::Unknown => lines.push("It is not of a kind that can be used here.".into()),
        kind => lines.push(format!("Put it into a model folder. Such a file {}.", kind.purpose())),
    }
    if !identity.lacks.is_empty() && identity.kind.denoises() {
        let lacks: Vec<&str> = identity.lacks.iter().map(|component| component.name()).collect();
        lines.push(format!(
            "It lacks {}; take it from another model or from files of their own.",
            lacks.join(", ")
        ));
    }
    if let Some(problem) = report.problem.as_ref().filter(|_| identity.kind == ModelKind::Model) {
        lines.push(problem.clone());
    }
    lines
}
