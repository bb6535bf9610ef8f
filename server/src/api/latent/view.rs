//! A job as clients see it.

use crate::error::ApiError;
use crate::gallery::ImageInfo;
use crate::queue::{ApiName, JobPhase, JobStatus};
use crate::state::ServerState;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use utoipa::ToSchema;

/// A job, and where it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobView {
    /// Its number, which counts up.
    pub id: String,
    /// The command.
    pub verb: String,
    /// Where it is in its life.
    pub state: JobPhase,
    /// Jobs before it, if it waits.
    pub position: Option<usize>,
    /// Seconds until it ends, as far as that can be said.
    pub eta_seconds: Option<f64>,
    /// When it was accepted.
    pub created: String,
    /// When it began.
    pub started: Option<String>,
    /// When it ended.
    pub finished: Option<String>,
    /// The prompt.
    pub prompt: String,
    /// The model's name.
    pub model: String,
    /// What it does now: `loading`, `encoding`, `sampling`, `upscaling` or `decoding`.
    pub stage: Option<&'static str>,
    /// Steps of the stage that are done.
    pub step: usize,
    /// Steps of the stage.
    pub steps: usize,
    /// The part of the whole job that is done, 0 to 1.
    pub progress: f64,
    /// The images that are written.
    pub images: Vec<Arc<ImageInfo>>,
    /// One line for each thing that is not as it should be.
    pub warnings: Vec<String>,
    /// Why it failed.
    pub error: Option<ApiError>,
    /// The seed of the first image.
    pub seed: Option<u64>,
    /// Which API it came by.
    pub api: ApiName,
}

impl JobView {
    /// The view of a job. This reads the metadata of its images.
    #[must_use]
    pub fn of(state: &ServerState, status: JobStatus) -> JobView {
        let record = status.record;
        let step = status.live.step.filter(|_| record.phase == JobPhase::Running);
        let images = record.images.iter().filter_map(|name| state.gallery.info(name).ok());
        JobView {
            id: record.id.to_string(),
            verb: record.verb,
            state: record.phase,
            position: status.position,
            eta_seconds: status.eta_seconds,
            created: time(record.created),
            started: record.started.map(time),
            finished: record.finished.map(time),
            prompt: record.prompt,
            model: record.model,
            stage: step.map(|step| step.stage),
            step: step.map_or(0, |step| step.step),
            steps: step.map_or(0, |step| step.steps),
            progress: match record.phase {
                JobPhase::Done => 1.0,
                _ => step.map_or(0.0, |step| step.progress),
            },
            images: images.collect(),
            warnings: record.warnings,
            error: record.error,
            seed: record.seed,
            api: record.api,
        }
    }
}

fn time(milliseconds: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(milliseconds)).to_string()
}
