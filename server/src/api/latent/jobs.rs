//! `/api/v1/jobs`

use super::view::JobView;
use crate::api::{ClientAddress, JsonBody, PathPart, blocking};
use crate::error::ApiError;
use crate::queue::{ApiName, JobId};
use crate::request::JobRequest;
use crate::state::ServerState;
use axum::Json;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Jobs that are listed unless a limit is given.
const LISTED: usize = 50;
/// Maximum number of jobs that are listed.
const MAX_LISTED: usize = 1000;

/// A job that was accepted.
#[derive(Serialize, ToSchema)]
pub(super) struct AcceptedJob {
    id: String,
    #[schema(example = "queued")]
    state: &'static str,
    /// Jobs before it.
    position: usize,
    /// Seconds until it ends, as far as that can be said.
    eta_seconds: Option<f64>,
    verb: String,
}

/// The newest jobs, newest first, and how many wait and run.
#[derive(Serialize, ToSchema)]
pub(super) struct JobList {
    jobs: Vec<JobView>,
    queued: usize,
    running: usize,
}

#[derive(Deserialize, IntoParams)]
pub(super) struct JobListQuery {
    /// Maximum number of jobs.
    #[param(minimum = 0, maximum = 1000)]
    limit: Option<usize>,
}

/// The number of a job in an address.
pub(super) fn number(id: &str) -> Result<JobId, ApiError> {
    id.parse().map_err(|_| ApiError::not_found("there is no such job"))
}

/// Submit a job
///
/// It is drawn when it is its turn, also after the server was stopped, or crashed.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", request_body = JobRequest, responses(
    (status = 202, description = "Accepted", body = AcceptedJob),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn submit(
    State(state): State<ServerState>,
    Extension(client): Extension<ClientAddress>,
    JsonBody(request): JsonBody<JobRequest>,
) -> Result<(StatusCode, Json<AcceptedJob>), ApiError> {
    let verb = request.verb.clone();
    let status = blocking(move || {
        let new = state.requests.read(request, ApiName::Latent, &client.0.to_string())?;
        state.queue.submit(new)
    })
    .await?;
    let accepted = AcceptedJob {
        id: status.record.id.to_string(),
        state: "queued",
        position: status.position.unwrap_or(0),
        eta_seconds: status.eta_seconds,
        verb,
    };
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

/// List the newest jobs
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(JobListQuery), responses(
    (status = 200, description = "The newest jobs, newest first", body = JobList),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn list(
    State(state): State<ServerState>,
    query: Result<Query<JobListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<JobList>, ApiError> {
    let limit = crate::api::query(query)?.limit.unwrap_or(LISTED).min(MAX_LISTED);
    blocking(move || {
        let (queued, running) = state.queue.counts();
        let jobs = state.queue.newest(limit)?.into_iter().map(|status| JobView::of(&state, status)).collect();
        Ok(Json(JobList { jobs, queued, running }))
    })
    .await
}

/// Look at a job
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path)), responses(
    (status = 200, description = "The job", body = JobView),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn state(
    State(state): State<ServerState>,
    PathPart(id): PathPart,
) -> Result<Json<JobView>, ApiError> {
    let id = number(&id)?;
    blocking(move || Ok(Json(JobView::of(&state, state.queue.status(id)?)))).await
}

/// Cancel a job
///
/// One that waits ends at once, one that runs before its next step.
#[utoipa::path(delete, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path)), responses(
    (status = 200, description = "The job", body = JobView),
    (status = "4XX", description = "Refused, or it has ended", body = crate::error::ErrorBody),
))]
pub(super) async fn cancel(
    State(state): State<ServerState>,
    PathPart(id): PathPart,
) -> Result<Json<JobView>, ApiError> {
    let id = number(&id)?;
    blocking(move || Ok(Json(JobView::of(&state, state.queue.cancel(id)?)))).await
}
