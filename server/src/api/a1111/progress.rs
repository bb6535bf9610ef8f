//! `/sdapi/v1/progress`, `interrupt` and `skip`

use super::answer::timestamp;
use super::error::{WebuiError, refused};
use super::images;
use crate::api::blocking;
use crate::error::ApiError;
use crate::queue::{ApiName, JobPhase, JobRecord, JobStatus};
use crate::state::ServerState;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
pub(super) struct ProgressQuery {
    /// Whether to leave out how the image looks so far.
    skip_current_image: Option<bool>,
}

/// How far the job that runs has come. Without one, `progress` and `job_count` are 0.
#[derive(Serialize, ToSchema)]
pub(super) struct WebuiProgress {
    /// 0 to 1.
    progress: f64,
    /// Seconds until it ends, as far as that can be said.
    eta_relative: f64,
    #[schema(value_type = Object)]
    state: Value,
    /// A PNG in base64.
    current_image: Option<String>,
    textinfo: Option<String>,
    /// The number of the job.
    current_task: Option<String>,
}

/// The least progress of a job that runs: at 0 clients take it to have ended.
const MIN_PROGRESS: f64 = 0.01;

/// The job that is meant: one of this API that runs, else one that waits, else any that runs.
fn shown(state: &ServerState) -> Option<JobStatus> {
    let is_running = |job: &JobRecord| job.phase == JobPhase::Running;
    let is_own = |job: &JobRecord| job.api == ApiName::A1111;
    let first = |is_wanted: &dyn Fn(&JobRecord) -> bool| state.queue.first_unfinished(is_wanted);
    first(&|job| is_own(job) && is_running(job)).or_else(|| first(&is_own)).or_else(|| first(&is_running))
}

fn progress_of(job: &JobStatus, shows_image: bool) -> Result<WebuiProgress, ApiError> {
    let record = &job.record;
    let step = job.live.step.unwrap_or_default();
    let is_sampling = step.stage == "sampling";
    let preview = job.live.preview.as_deref().filter(|_| shows_image);
    Ok(WebuiProgress {
        progress: step.progress.clamp(MIN_PROGRESS, 1.0),
        eta_relative: job.eta_seconds.unwrap_or(0.0),
        state: json!({
            "skipped": false,
            "interrupted": false,
            "stopping_generation": false,
            "job": format!("scripts_{}", record.verb),
            "job_count": record.count.max(1),
            "job_timestamp": timestamp(record.created),
            "job_no": record.images.len(),
            "sampling_step": if is_sampling { step.step } else { 0 },
            "sampling_steps": if is_sampling { step.steps } else { 0 },
        }),
        current_image: preview.map(images::png).transpose()?,
        textinfo: (!step.stage.is_empty()).then(|| step.stage.to_owned()),
        current_task: Some(record.id.to_string()),
    })
}

fn idle() -> WebuiProgress {
    WebuiProgress {
        progress: 0.0,
        eta_relative: 0.0,
        state: json!({
            "skipped": false,
            "interrupted": false,
            "stopping_generation": false,
            "job": "",
            "job_count": 0,
            "job_timestamp": "0",
            "job_no": 0,
            "sampling_step": 0,
            "sampling_steps": 0,
        }),
        current_image: None,
        textinfo: None,
        current_task: None,
    }
}

/// Ask how far the job that runs has come
#[utoipa::path(get, path = "/sdapi/v1/progress", tag = "a1111", params(ProgressQuery), responses(
    (status = 200, description = "Of this API's job, else of any", body = WebuiProgress),
))]
pub(super) async fn progress(
    State(state): State<ServerState>,
    query: Result<Query<ProgressQuery>, QueryRejection>,
) -> Result<Json<WebuiProgress>, WebuiError> {
    let shows_image = !crate::api::query(query)?.skip_current_image.unwrap_or(false);
    let found = blocking(move || shown(&state).map_or(Ok(idle()), |job| progress_of(&job, shows_image)));
    Ok(Json(found.await?))
}

/// This API's jobs that run.
fn running(state: &ServerState) -> Vec<JobRecord> {
    let mut jobs = state.queue.running();
    jobs.retain(|job| job.api == ApiName::A1111);
    jobs
}

/// End this API's jobs that run
///
/// Who waits for them gets the images that are complete.
#[utoipa::path(post, path = "/sdapi/v1/interrupt", tag = "a1111", responses(
    (status = 200, description = "They end before their next step", body = Object),
))]
pub(super) async fn interrupt(State(state): State<ServerState>) -> Result<Json<Value>, WebuiError> {
    let ended = blocking(move || {
        for job in running(&state) {
            // One that has ended by now is well.
            let _ = state.queue.cancel(job.id);
        }
        Ok(json!({}))
    });
    Ok(Json(ended.await?))
}

/// End the image that is drawn, if it is the last of its job
#[utoipa::path(post, path = "/sdapi/v1/skip", tag = "a1111", responses(
    (status = 200, description = "It ends before its next step"),
    (status = 422, description = "Further images would follow", body = super::error::WebuiErrorBody),
))]
pub(super) async fn skip(State(state): State<ServerState>) -> Result<Json<()>, WebuiError> {
    let skipped = blocking(move || {
        for job in running(&state) {
            if job.images.len() + 1 < job.count {
                let line = "further images follow, and none can be left out; interrupt ends the job";
                return Err(refused("skip", line));
            }
            let _ = state.queue.cancel(job.id);
        }
        Ok(())
    });
    skipped.await?;
    Ok(Json(()))
}
