//! A job as the queue keeps it.

use crate::error::ApiError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The number of a job.
pub type JobId = u64;

/// Where a job is in its life. It goes from `queued` through `running` to one of the others, or ends while it is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobPhase {
    /// It waits.
    Queued,
    /// It is being drawn.
    Running,
    /// All its images are written.
    Done,
    /// It cannot be drawn, or something went wrong.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl JobPhase {
    /// Whether it has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, JobPhase::Queued | JobPhase::Running)
    }

    /// As it is written in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            JobPhase::Queued => "queued",
            JobPhase::Running => "running",
            JobPhase::Done => "done",
            JobPhase::Failed => "failed",
            JobPhase::Cancelled => "cancelled",
        }
    }
}

/// Which API a job came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApiName {
    /// Latent's own.
    Latent,
    /// That of the webui.
    A1111,
    /// That of OpenAI.
    OpenAi,
}

/// A job as it is stored, without what it does, which is stored beside it until it has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its number. Numbers count up in the order in which jobs were accepted, and are never used again.
    pub id: JobId,
    /// The command, such as `txt2img`.
    pub verb: String,
    /// Where it is in its life.
    pub phase: JobPhase,
    /// When it was accepted, in milliseconds since 1970, as all times here.
    pub created: u64,
    /// When it began.
    pub started: Option<u64>,
    /// When it ended.
    pub finished: Option<u64>,
    /// The prompt.
    pub prompt: String,
    /// Name of the model.
    pub model: String,
    /// The seed of the first image.
    pub seed: Option<u64>,
    /// Images that it makes.
    pub count: usize,
    /// How long it takes, in the unit of [`Work::cost`](crate::work::Work::cost).
    pub cost: f64,
    /// Which API it came by.
    pub api: ApiName,
    /// Who sent it: an address.
    pub client: String,
    /// The device that must draw it.
    pub device: Option<String>,
    /// Steps from one preview to the next; none for 0.
    pub preview_interval: u32,
    /// What the names of its images begin with. It is fixed before anything is drawn, so that a job that runs once more
    /// after a crash replaces its own images.
    pub stem: String,
    /// Names of the images that are written.
    pub images: Vec<String>,
    /// One line for each thing that is not as it should be.
    pub warnings: Vec<String>,
    /// Why it failed.
    pub error: Option<ApiError>,
}
