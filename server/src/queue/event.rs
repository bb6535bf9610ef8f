//! What the server tells those who listen.

use super::record::{JobId, JobPhase};
use serde::Serialize;
use std::sync::Arc;

/// What happened. It is sent to everybody who listens; one who is too slow misses some.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A job was accepted, began or ended.
    Job(JobId, JobPhase),
    /// Something about a job that runs.
    Progress(JobId, JobNotice),
    /// A model file came or went.
    Models,
    /// Images came or went: their names.
    Gallery {
        /// Those that came.
        added: Arc<[String]>,
        /// Those that went.
        removed: Arc<[String]>,
    },
}

/// What a job that runs reports.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum JobNotice {
    /// A part of the model is being read.
    Loading {
        /// The part.
        component: Arc<str>,
        /// Bytes read so far.
        read: u64,
        /// Bytes of the part.
        total: u64,
    },
    /// Work is done.
    Step(StepProgress),
    /// How an image looks so far.
    Preview {
        /// A JPEG as a `data:` URL.
        image: Arc<str>,
        /// Steps done.
        step: usize,
    },
    /// An image is written.
    Image {
        /// Its name in the gallery.
        name: Arc<str>,
        /// Where it can be fetched.
        url: Arc<str>,
        /// Its seed.
        seed: u64,
        /// Pixels.
        width: usize,
        /// Pixels.
        height: usize,
    },
    /// Something is not as it should be.
    Warning {
        /// One line.
        message: Arc<str>,
    },
}

impl JobNotice {
    /// The name of the event.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            JobNotice::Loading { .. } => "loading",
            JobNotice::Step(_) => "progress",
            JobNotice::Preview { .. } => "preview",
            JobNotice::Image { .. } => "image",
            JobNotice::Warning { .. } => "warning",
        }
    }
}

/// How far a job that runs has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StepProgress {
    /// What it does: `loading`, `encoding`, `sampling`, `upscaling` or `decoding`.
    pub stage: &'static str,
    /// Steps of the stage that are done.
    pub step: usize,
    /// Steps of the stage.
    pub steps: usize,
    /// Blocks of the network that are done within the step, and all of them; absent between two steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<usize>,
    /// See [`StepProgress::block`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<usize>,
    /// The part of the whole job that is done, 0 to 1.
    pub progress: f64,
    /// Seconds until the job ends, as far as that can be said.
    pub eta_seconds: Option<f64>,
}
