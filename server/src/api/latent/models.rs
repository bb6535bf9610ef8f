//! `/api/v1/models`

use super::inspect::with_advice;
use crate::api::{PathPart, blocking};
use crate::error::ApiError;
use crate::models::{BUILT_IN, ModelInfo};
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use latent_app::model_file;
use latent_loader::{Access, Checkpoint};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// What is in the model folders.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelList {
    models: Vec<ModelInfo>,
}

/// List what is in the model folders, the built-in model first
#[utoipa::path(get, path = "/api/v1/models", tag = "models", responses(
    (status = 200, description = "Models, LoRAs, VAEs and others", body = ModelList),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn list(State(state): State<ServerState>) -> Result<Json<ModelList>, ApiError> {
    blocking(move || Ok(Json(ModelList { models: state.models.list() }))).await
}

/// Look at the header of a model
#[utoipa::path(get, path = "/api/v1/models/{name}/inspect", tag = "models", params(("name" = String, Path)), responses(
    (status = 200, description = "As `latent inspect --json --tensors`, with what it can be used for", body = Object),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn inspect(
    State(state): State<ServerState>,
    PathPart(name): PathPart,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let found = state.models.find(&name).map_err(|error| ApiError::not_found(error.message))?;
        let checkpoint = match found {
            Some(path) => Checkpoint::open(&path).map_err(latent_app::AppError::from)?,
            None => model_file::open(None, None, Access::Read)?.checkpoint,
        };
        let mut value = with_advice(&Arc::new(checkpoint), true);
        value["file"] = if name.is_empty() { BUILT_IN.into() } else { name.into() };
        Ok(Json(value))
    })
    .await
}
