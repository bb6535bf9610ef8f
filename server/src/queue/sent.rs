//! Jobs that are sent to other machines.

use super::active::ActiveJob;
use super::{JobId, JobPhase, JobQueue, JobRecord, ServerEvent, now};
use std::sync::PoisonError;

impl JobQueue {
    /// Waits for the next job that other machines can draw. It goes on waiting, as far as clients see, until [`JobQueue::begin`].
    /// `None` when the server is about to stop.
    #[must_use]
    pub(crate) fn next_to_send(&self) -> Option<JobRecord> {
        let mut jobs = self.jobs();
        loop {
            if jobs.is_draining {
                return None;
            }
            if let Some(active) = jobs.next_to_send() {
                active.is_sent = true;
                return Some(active.record.clone());
            }
            jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that another machine began a job that was sent.
    pub(crate) fn begin(&self, id: JobId) {
        {
            let mut jobs = self.jobs();
            let waits = |active: &&mut ActiveJob| active.record.phase == JobPhase::Queued;
            let Some(active) = jobs.get_mut(id).filter(waits) else { return };
            active.record.phase = JobPhase::Running;
            active.record.started = Some(now());
        }
        self.publish(ServerEvent::Job(id, JobPhase::Running));
    }

    /// Takes a warning back, about what passed.
    pub(crate) fn retract(&self, id: JobId, warning: &str) {
        if let Some(active) = self.jobs().get_mut(id) {
            active.record.warnings.retain(|line| line != warning);
        }
    }

    /// Whether jobs that run are to be interrupted.
    #[must_use]
    pub(crate) fn is_stopping(&self) -> bool {
        self.jobs().is_stopping
    }

    /// Whether a job has not ended.
    #[must_use]
    pub(crate) fn is_active(&self, id: JobId) -> bool {
        self.jobs().get_mut(id).is_some_and(|active| !active.record.phase.is_final())
    }
}
