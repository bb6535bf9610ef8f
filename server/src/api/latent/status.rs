//! `/healthz` and `/metrics`

use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Ask whether the server answers
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, description = "It does", body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Read counters in the format of Prometheus
#[utoipa::path(get, path = "/metrics", tag = "server", responses(
    (status = 200, description = "Counters", content_type = "text/plain", body = String),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn metrics(State(state): State<ServerState>) -> impl IntoResponse {
    let (queued, running) = state.queue.counts();
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, state.metrics.text(queued, running))
}
