//! `/v1/models`

use super::error::{OpenAiError, OpenAiErrorBody};
use super::parameters::{missing_model, named};
use crate::api::{PathPart, blocking};
use crate::error::ApiError;
use crate::models::ModelInfo;
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::time::UNIX_EPOCH;
use utoipa::ToSchema;

/// A model that draws.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DrawingModel {
    /// The name by which requests call it.
    #[schema(example = "demo")]
    id: String,
    /// `model`.
    #[schema(example = "model")]
    object: &'static str,
    /// When its file was written, in seconds since 1970; 0 for the built-in model.
    created: u64,
    /// `latent`.
    #[schema(example = "latent")]
    owned_by: &'static str,
}

/// The models that draw.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DrawingModelList {
    /// `list`.
    #[schema(example = "list")]
    object: &'static str,
    data: Vec<DrawingModel>,
}

fn shown(state: &ServerState, info: &ModelInfo) -> DrawingModel {
    let path = state.models.find(&info.name).ok().flatten();
    let time = path.and_then(|path| path.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    let created = time.map_or(0, |time| time.as_secs());
    DrawingModel { id: info.name.clone(), object: "model", created, owned_by: "latent" }
}

/// List the models that draw
#[utoipa::path(get, path = "/v1/models", tag = "openai", operation_id = "openai_models", responses(
    (status = 200, description = "The models, the built-in one first", body = DrawingModelList),
    (status = "4XX", description = "Refused", body = OpenAiErrorBody),
))]
pub(super) async fn list(State(state): State<ServerState>) -> Result<Json<DrawingModelList>, OpenAiError> {
    let list = blocking(move || {
        let data =
            state.models.list().iter().filter(|info| info.draws).map(|info| shown(&state, info)).collect();
        Ok(DrawingModelList { object: "list", data })
    });
    Ok(Json(list.await?))
}

/// Look at a model
#[utoipa::path(get, path = "/v1/models/{id}", tag = "openai", operation_id = "openai_model",
    params(("id" = String, Path)), responses(
    (status = 200, description = "The model", body = DrawingModel),
    (status = "4XX", description = "Refused", body = OpenAiErrorBody),
))]
pub(super) async fn model(
    State(state): State<ServerState>,
    id: Result<PathPart, ApiError>,
) -> Result<Json<DrawingModel>, OpenAiError> {
    let PathPart(id) = id?;
    let model = blocking(move || {
        let info = named(&state.models.list(), &id).filter(|info| info.draws);
        Ok(shown(&state, &info.ok_or_else(|| missing_model(&id))?))
    });
    Ok(Json(model.await?))
}
