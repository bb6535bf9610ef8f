//! The jobs that have not ended, in memory.

use super::QueueLimits;
use super::event::StepProgress;
use super::record::{JobId, JobPhase, JobRecord};
use crate::error::{ApiError, ErrorCode};
use latent_app::CancelToken;
use latent_diffusion::Image;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How much the last jobs count in the estimate of how long a job takes.
const RATE_MEMORY: f64 = 0.7;
/// Seconds after which a client may try again, if nothing better is known.
const RETRY_SECONDS: f64 = 10.0;

/// How far a job that runs has come.
#[derive(Clone, Debug, Default)]
pub struct LiveProgress {
    /// The last step that was reported.
    pub step: Option<StepProgress>,
    /// The last preview.
    pub preview: Option<Arc<Image>>,
}

/// A job, and where it is.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// The job.
    pub record: JobRecord,
    /// Jobs before it, if it waits.
    pub position: Option<usize>,
    /// Seconds until it ends, as far as that can be said.
    pub eta_seconds: Option<f64>,
    /// How far it has come, if it runs.
    pub live: LiveProgress,
}

impl JobStatus {
    /// A job that has ended.
    #[must_use]
    pub fn ended(record: JobRecord) -> JobStatus {
        JobStatus { record, position: None, eta_seconds: None, live: LiveProgress::default() }
    }
}

/// A job that has not ended.
#[derive(Debug)]
pub(super) struct ActiveJob {
    pub(super) record: JobRecord,
    pub(super) cancel: CancelToken,
    pub(super) live: LiveProgress,
    /// Whether a client cancelled it, and not the end of the server.
    pub(super) is_cancelled: bool,
    /// Whether it was sent to other machines, which begin it and end it.
    pub(super) is_sent: bool,
    /// Bytes of what it does.
    bytes: usize,
}

/// The jobs that have not ended, by number.
#[derive(Debug, Default)]
pub(super) struct ActiveJobs {
    jobs: BTreeMap<JobId, ActiveJob>,
    /// Jobs whose end could not be written.
    unsaved: BTreeMap<JobId, JobRecord>,
    /// Seconds that a unit of cost takes.
    rate: Option<f64>,
    /// How often somebody asked the devices to close their models.
    pub(super) unloads: u64,
    pub(super) is_draining: bool,
    pub(super) is_stopping: bool,
}

impl ActiveJobs {
    pub(super) fn add(&mut self, record: JobRecord, bytes: usize) {
        let (cancel, live) = (CancelToken::new(), LiveProgress::default());
        let (is_cancelled, is_sent) = (false, false);
        self.jobs.insert(record.id, ActiveJob { record, cancel, live, is_cancelled, is_sent, bytes });
    }

    pub(super) fn get_mut(&mut self, id: JobId) -> Option<&mut ActiveJob> {
        self.jobs.get_mut(&id)
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &ActiveJob> {
        self.jobs.values().filter(|active| active.record.phase == JobPhase::Running)
    }

    fn waiting(&self) -> impl Iterator<Item = &ActiveJob> {
        self.jobs.values().filter(|active| active.record.phase == JobPhase::Queued)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.unsaved.is_empty()
    }

    /// How many wait, and how many run.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.waiting().count(), self.running().count())
    }

    /// The first that waits and that a device may draw.
    pub(super) fn next_for(&mut self, device: &str) -> Option<&mut ActiveJob> {
        self.jobs.values_mut().find(|active| {
            let fits = active.record.device.as_deref().is_none_or(|own| own == device);
            fits && active.record.phase == JobPhase::Queued
        })
    }

    /// The first that waits and was not sent to other machines.
    #[cfg(feature = "nats")]
    pub(super) fn next_to_send(&mut self) -> Option<&mut ActiveJob> {
        self.jobs.values_mut().find(|active| !active.is_sent && active.record.phase == JobPhase::Queued)
    }

    /// Refuses a job for which there is no room.
    pub(super) fn check_room(
        &self,
        limits: QueueLimits,
        client: &str,
        bytes: usize,
        max_bytes: usize,
    ) -> Result<(), ApiError> {
        if self.is_draining {
            let mut error = ApiError::new(ErrorCode::Unavailable, "the server is about to stop");
            error.retry_after = Some(RETRY_SECONDS as u64);
            return Err(error);
        }
        let (mut waiting, mut own, mut all_bytes) = (0, 0, bytes);
        for active in self.waiting() {
            waiting += 1;
            own += usize::from(active.record.client == client);
            all_bytes += active.bytes;
        }
        let line = if waiting >= limits.jobs {
            format!("the queue is full: {waiting} jobs wait")
        } else if own >= limits.jobs_per_client {
            format!("{own} of your jobs wait already")
        } else if all_bytes > max_bytes {
            format!("the queue is full: its images have {} MB", max_bytes >> 20)
        } else {
            return Ok(());
        };
        let first = self.running().next().or_else(|| self.waiting().next());
        let left = first.and_then(|first| self.left(first)).unwrap_or(RETRY_SECONDS);
        let mut error = ApiError::new(ErrorCode::QueueFull, line);
        error.retry_after = Some(left.ceil().clamp(1.0, 3600.0) as u64);
        Err(error)
    }

    /// Seconds that a job itself takes from now on.
    fn left(&self, active: &ActiveJob) -> Option<f64> {
        let whole = || self.rate.map(|rate| rate * active.record.cost);
        match (active.record.phase, active.live.step) {
            (JobPhase::Running, Some(step)) => step.eta_seconds.or_else(whole),
            _ => whole(),
        }
    }

    /// Where a job is.
    pub(super) fn status(&self, id: JobId) -> Option<JobStatus> {
        let Some(active) = self.jobs.get(&id) else {
            return self.unsaved.get(&id).cloned().map(JobStatus::ended);
        };
        let is_waiting = active.record.phase == JobPhase::Queued;
        let before = || self.jobs.range(..id).map(|(_, before)| before);
        let eta_seconds = if is_waiting {
            // As with one device, which is the usual case.
            let others: Option<f64> = before().map(|before| self.left(before)).sum();
            others.zip(self.left(active)).map(|(others, own)| others + own)
        } else {
            self.left(active)
        };
        let position =
            is_waiting.then(|| before().filter(|job| job.record.phase == JobPhase::Queued).count());
        Some(JobStatus { record: active.record.clone(), position, eta_seconds, live: active.live.clone() })
    }

    /// The first that is wanted.
    pub(super) fn first(&self, is_wanted: impl Fn(&JobRecord) -> bool) -> Option<JobStatus> {
        let found = self.jobs.values().find(|active| is_wanted(&active.record))?;
        self.status(found.record.id)
    }

    pub(super) fn take_unsaved(&mut self) -> BTreeMap<JobId, JobRecord> {
        std::mem::take(&mut self.unsaved)
    }

    /// Removes a job that has ended. `unsaved` are those whose end could not be written.
    pub(super) fn end(&mut self, record: JobRecord, unsaved: BTreeMap<JobId, JobRecord>) {
        if let (JobPhase::Done, Some(started), Some(finished)) =
            (record.phase, record.started, record.finished)
        {
            let seconds = finished.saturating_sub(started) as f64 / 1000.0;
            let rate = seconds / record.cost.max(0.01);
            self.rate = Some(self.rate.map_or(rate, |old| RATE_MEMORY * old + (1.0 - RATE_MEMORY) * rate));
        }
        self.jobs.remove(&record.id);
        self.unsaved.extend(unsaved);
    }
}
