//! Waiting for the end of a job, for APIs that answer with its images.

use super::event::ServerEvent;
use super::record::{JobId, JobRecord};
use super::{JobQueue, NewJob};
use crate::error::ApiError;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

/// A job that somebody waits for. Dropping it cancels the job: a client that goes away does not keep the device busy.
#[derive(Debug)]
pub struct JobWait {
    queue: Arc<JobQueue>,
    id: JobId,
    has_ended: bool,
}

impl JobWait {
    /// Accepts a job that is waited for.
    ///
    /// # Errors
    /// As [`JobQueue::submit`].
    pub async fn submit(queue: Arc<JobQueue>, new: NewJob) -> Result<JobWait, ApiError> {
        let own = queue.clone();
        // The wait is made in the thread that accepts the job, so that a client that goes away meanwhile cancels it.
        let submitted = tokio::task::spawn_blocking(move || {
            let status = own.submit(new)?;
            Ok(JobWait { queue: own, id: status.record.id, has_ended: false })
        });
        drop(queue);
        submitted.await.map_err(|error| ApiError::failed(error.to_string()))?
    }

    /// The job's number.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Waits until the job has ended. Its error, if it failed, is in the record.
    ///
    /// # Errors
    /// A failure of the disk.
    pub async fn ended(mut self) -> Result<JobRecord, ApiError> {
        let mut events = self.queue.subscribe();
        loop {
            let status = self.queue.status(self.id)?;
            if status.record.phase.is_final() {
                self.has_ended = true;
                return Ok(status.record);
            }
            loop {
                match events.recv().await {
                    Ok(ServerEvent::Job(id, phase)) if id == self.id && phase.is_final() => break,
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Err(ApiError::failed("the server stops")),
                    Ok(_) => {}
                }
            }
        }
    }
}

impl Drop for JobWait {
    fn drop(&mut self) {
        if !self.has_ended {
            // One that has ended by now is well.
            let _ = self.queue.cancel(self.id);
        }
    }
}
