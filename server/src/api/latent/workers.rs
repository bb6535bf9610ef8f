//! `/api/v1/workers`

use crate::error::ApiError;
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

/// List the workers of a queue that several machines share: name, machine, version, devices, models by their SHA-256, what is in memory,
/// what is drawn, how much was, and when they were heard of; and the last jobs that were set aside. Without such a queue there are none
#[utoipa::path(get, path = "/api/v1/workers", tag = "server", responses(
    (status = 200, description = "Those that gave a sign of life within half a minute", body = Object),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn list(State(state): State<ServerState>) -> Result<Json<Value>, ApiError> {
    #[cfg(feature = "nats")]
    if let Some(front) = &state.front {
        return Ok(Json(json!({ "workers": front.workers().await?, "parked": front.parked().await? })));
    }
    let _ = state;
    Ok(Json(json!({ "workers": [], "parked": [] })))
}
