//! The queue of jobs: accepted jobs are on disk, and each device draws them in their order, one at a time.
//!
//! Every change of a job's phase is made in this file: queued -> running -> done, failed or cancelled, and queued ->
//! cancelled; but that a job which other machines draw begins, in `sent.rs`. A job that runs when the server is stopped at once, or crashes, is queued again in its old place.

mod active;
mod event;
mod record;
#[cfg(feature = "nats")]
mod sent;
mod store;
#[cfg(test)]
mod tests;
mod wait;

pub use active::{JobStatus, LiveProgress};
pub use event::{JobNotice, ServerEvent, StepProgress};
pub use record::{ApiName, JobId, JobPhase, JobRecord};
pub use store::JobStore;
pub use wait::JobWait;

use crate::error::{ApiError, ErrorCode};
use crate::metrics::Metrics;
use crate::work::Work;
use active::{ActiveJob, ActiveJobs};
use latent_app::CancelToken;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::broadcast;

/// Events that a slow listener may be behind before it misses some.
const EVENTS_BEHIND: usize = 256;
/// Bytes of the images and settings of all jobs that wait.
const MAX_WAITING_BYTES: usize = 1 << 30;

/// How many jobs may wait.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// All together.
    pub jobs: usize,
    /// Those of one client.
    pub jobs_per_client: usize,
}

/// A job that a client wants.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The command, such as `txt2img`.
    pub verb: String,
    /// What it does.
    pub work: Work,
    /// The prompt, for lists.
    pub prompt: String,
    /// Name of the model, for lists.
    pub model: String,
    /// The seed of the first image.
    pub seed: Option<u64>,
    /// Which API it came by.
    pub api: ApiName,
    /// Who sent it.
    pub client: String,
    /// The device that must draw it; any when `None`.
    pub device: Option<String>,
    /// Steps from one preview to the next; none for 0.
    pub preview_interval: u32,
}

/// A job that a device has taken.
#[derive(Debug)]
pub struct TakenJob {
    /// Its record.
    pub record: JobRecord,
    /// Cancels it.
    pub cancel: CancelToken,
}

/// What a device does next.
#[derive(Debug)]
pub enum DeviceTurn {
    /// It draws a job.
    Draw(Box<TakenJob>),
    /// It closes its models.
    Unload,
}

/// How a job ended.
#[derive(Debug)]
pub enum JobOutcome {
    /// All images are written.
    Done,
    /// It was cancelled.
    Cancelled,
    /// Why it failed.
    Failed(ApiError),
}

/// The queue.
#[derive(Debug)]
pub struct JobQueue {
    store: JobStore,
    limits: QueueLimits,
    jobs: Mutex<ActiveJobs>,
    /// Held while a job is written, so that jobs begin in the order of their numbers.
    accepting: Mutex<()>,
    changed: Condvar,
    events: broadcast::Sender<ServerEvent>,
    metrics: Arc<Metrics>,
}

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

impl JobQueue {
    /// The queue of a store. Jobs that had not ended are queued.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn new(store: JobStore, limits: QueueLimits, metrics: Arc<Metrics>) -> Result<JobQueue, ApiError> {
        let mut jobs = ActiveJobs::default();
        for (mut record, bytes) in store.unfinished()? {
            record.phase = JobPhase::Queued;
            record.images.clear();
            jobs.add(record, bytes);
        }
        let (events, _) = broadcast::channel(EVENTS_BEHIND);
        let (jobs, accepting, changed) = (Mutex::new(jobs), Mutex::new(()), Condvar::new());
        Ok(JobQueue { store, limits, jobs, accepting, changed, events, metrics })
    }

    fn jobs(&self) -> MutexGuard<'_, ActiveJobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives what happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<ServerEvent> {
        self.events.subscribe()
    }

    /// Tells those who listen.
    pub fn publish(&self, event: ServerEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// How many listen.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.events.receiver_count()
    }

    /// Accepts a job. It is on disk when this returns. This waits for the disk.
    ///
    /// # Errors
    /// [`ErrorCode::QueueFull`] and [`ErrorCode::Unavailable`], or a failure of the disk. Then the job is not accepted.
    pub fn submit(&self, new: NewJob) -> Result<JobStatus, ApiError> {
        let work = serde_json::to_vec(&new.work).expect("it is plain data");
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        self.jobs().check_room(self.limits, &new.client, work.len(), MAX_WAITING_BYTES)?;
        let created = now();
        let mut record = JobRecord {
            id: 0,
            phase: JobPhase::Queued,
            created,
            started: None,
            finished: None,
            count: new.work.images(),
            cost: new.work.cost(),
            verb: new.verb,
            prompt: new.prompt,
            model: new.model,
            seed: new.seed,
            api: new.api,
            client: new.client,
            device: new.device,
            preview_interval: new.preview_interval,
            stem: String::new(),
            images: Vec::new(),
            warnings: Vec::new(),
            error: None,
        };
        self.store.insert(&mut record, &work, |record| record.stem = stem(created, record.id))?;
        let id = record.id;
        self.metrics.accepted.add(1);
        let status = {
            let mut jobs = self.jobs();
            jobs.add(record, work.len());
            jobs.status(id).expect("it was added")
        };
        drop(accepting);
        self.publish(ServerEvent::Job(id, JobPhase::Queued));
        self.changed.notify_all();
        Ok(status)
    }

    /// Waits for what a device does next. `None` when the server is about to stop. `unloads` is how often the device has closed its
    /// models because somebody asked for it.
    #[must_use]
    pub fn next_turn(&self, device: &str, unloads: &mut u64) -> Option<DeviceTurn> {
        let mut jobs = self.jobs();
        let (id, taken) = loop {
            if jobs.is_draining {
                return None;
            }
            if *unloads < jobs.unloads {
                *unloads = jobs.unloads;
                return Some(DeviceTurn::Unload);
            }
            if let Some(active) = jobs.next_for(device) {
                active.record.phase = JobPhase::Running;
                active.record.started = Some(now());
                let taken = TakenJob { record: active.record.clone(), cancel: active.cancel.clone() };
                break (active.record.id, taken);
            }
            jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        };
        drop(jobs);
        self.publish(ServerEvent::Job(id, JobPhase::Running));
        Some(DeviceTurn::Draw(Box::new(taken)))
    }

    /// Waits for the next job that a device may draw. `None` when the server is about to stop.
    #[must_use]
    pub fn take(&self, device: &str) -> Option<TakenJob> {
        let mut unloads = 0;
        loop {
            if let DeviceTurn::Draw(taken) = self.next_turn(device, &mut unloads)? {
                return Some(*taken);
            }
        }
    }

    /// Asks every device to close its models: at once, or after the job that it draws.
    pub fn unload(&self) {
        self.jobs().unloads += 1;
        self.changed.notify_all();
    }

    /// What a job that was taken does.
    ///
    /// # Errors
    /// A failure of the disk, or a job of another version.
    pub fn work(&self, id: JobId) -> Result<Work, ApiError> {
        self.store.work(id)?.ok_or_else(|| ApiError::failed("the job is not in the queue any more"))
    }

    /// Notes how far a job has come, and tells those who listen.
    pub fn progress(&self, id: JobId, change: impl FnOnce(&mut JobRecord, &mut LiveProgress) -> JobNotice) {
        let notice = match self.jobs().get_mut(id) {
            Some(ActiveJob { record, live, .. }) => change(record, live),
            None => return,
        };
        if matches!(notice, JobNotice::Image { .. }) {
            self.metrics.images.add(1);
        }
        self.publish(ServerEvent::Progress(id, notice));
    }

    /// Ends a job that ran. One that was interrupted because the server is stopped stays in the queue.
    pub fn finish(&self, id: JobId, outcome: JobOutcome) {
        let mut record = {
            let mut jobs = self.jobs();
            let is_stopping = jobs.is_stopping;
            let Some(active) = jobs.get_mut(id) else { return };
            if is_stopping && !active.is_cancelled && matches!(outcome, JobOutcome::Cancelled) {
                active.record.phase = JobPhase::Queued;
                return;
            }
            if active.record.phase.is_final() {
                // It was cancelled at this moment.
                return;
            }
            // From here on it is not cancelled as one that waits, or ended once more.
            active.record.phase = JobPhase::Running;
            active.is_sent = false;
            active.record.clone()
        };
        (record.phase, record.error) = match outcome {
            JobOutcome::Done => (JobPhase::Done, None),
            JobOutcome::Cancelled => (JobPhase::Cancelled, None),
            JobOutcome::Failed(error) => (JobPhase::Failed, Some(error)),
        };
        self.end(record);
    }

    /// Writes a job that has ended, and forgets that it was active.
    fn end(&self, mut record: JobRecord) {
        record.finished = Some(now());
        let (id, phase) = (record.id, record.phase);
        self.count_ended(&record);
        let mut unsaved = self.jobs().take_unsaved();
        unsaved.insert(id, record.clone());
        // On a full disk a job stays in memory with its end, until it can be written.
        unsaved.retain(|_, record| self.store.finish(record).is_err());
        self.jobs().end(record, unsaved);
        self.publish(ServerEvent::Job(id, phase));
        self.changed.notify_all();
    }

    fn count_ended(&self, record: &JobRecord) {
        match record.phase {
            JobPhase::Done => self.metrics.done.add(1),
            JobPhase::Failed => self.metrics.failed.add(1),
            _ => self.metrics.cancelled.add(1),
        }
        if let (Some(started), Some(finished)) = (record.started, record.finished) {
            self.metrics.busy_ms.add(finished.saturating_sub(started));
        }
    }

    /// Cancels a job: one that waits ends at once, one that runs before its next step.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or [`ErrorCode::Conflict`] for a job that has ended.
    pub fn cancel(&self, id: JobId) -> Result<JobStatus, ApiError> {
        // A list may already show a job that is on disk and not yet in memory.
        drop(self.accepting.lock().unwrap_or_else(PoisonError::into_inner));
        let waiting = {
            let mut jobs = self.jobs();
            match jobs.get_mut(id) {
                Some(active) if active.record.phase == JobPhase::Running && !active.is_sent => {
                    active.is_cancelled = true;
                    active.cancel.cancel();
                    None
                }
                // One that other machines draw ends here at once; they are told.
                Some(active) if !active.record.phase.is_final() => {
                    active.record.phase = JobPhase::Cancelled;
                    Some(active.record.clone())
                }
                _ => {
                    drop(jobs);
                    let status = self.status(id)?;
                    let name = status.record.phase.name();
                    return Err(ApiError::new(ErrorCode::Conflict, format!("the job has ended: {name}")));
                }
            }
        };
        if let Some(record) = waiting {
            self.end(record);
        }
        self.status(id)
    }

    /// Where a job is.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or a failure of the disk.
    pub fn status(&self, id: JobId) -> Result<JobStatus, ApiError> {
        if let Some(status) = self.jobs().status(id) {
            return Ok(status);
        }
        match self.store.record(id)? {
            Some(record) => Ok(JobStatus::ended(record)),
            None => Err(ApiError::not_found(format!("there is no job {id}"))),
        }
    }

    /// The newest jobs, newest first.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn newest(&self, limit: usize) -> Result<Vec<JobStatus>, ApiError> {
        let records = self.store.newest(limit)?;
        let jobs = self.jobs();
        let status = |record: JobRecord| jobs.status(record.id).unwrap_or_else(|| JobStatus::ended(record));
        Ok(records.into_iter().map(status).collect())
    }

    /// How many jobs wait, and how many run.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        self.jobs().counts()
    }

    /// The first job that has not ended and is wanted.
    #[must_use]
    pub fn first_unfinished(&self, is_wanted: impl Fn(&JobRecord) -> bool) -> Option<JobStatus> {
        self.jobs().first(is_wanted)
    }

    /// The jobs that run.
    #[must_use]
    pub fn running(&self) -> Vec<JobRecord> {
        self.jobs().running().map(|active| active.record.clone()).collect()
    }

    /// Accepts no job any more, and lets none begin. Those that run are not touched.
    pub fn drain(&self) {
        self.jobs().is_draining = true;
        self.changed.notify_all();
    }

    /// Interrupts the jobs that run. They are queued again with the next start.
    pub fn stop(&self) {
        let mut jobs = self.jobs();
        (jobs.is_draining, jobs.is_stopping) = (true, true);
        jobs.running().for_each(|active| {
            active.cancel.cancel();
        });
        drop(jobs);
        self.changed.notify_all();
    }
}

/// What the names of a job's images begin with: when it was accepted, and its number.
fn stem(created: u64, id: JobId) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(created);
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let (day, time) = digits.split_at(8);
    format!("{day}-{time}-{id:05}")
}
