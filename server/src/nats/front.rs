//! What a server keeps of the jobs that it sent.

use super::broker::Broker;
use super::inventory::Inventory;
use super::logged_lines::LoggedLines;
use super::wire::{self, EventMessage, PartKey, WorkerEvent};
use crate::gallery::Gallery;
use crate::lifecycle::ServerLog;
use crate::metrics::Metrics;
use crate::models::ModelCatalog;
use crate::queue::{JobId, JobQueue};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// Where lines go as soon as somebody reads them.
#[derive(Clone, Default)]
pub(super) struct LogCell(Arc<OnceLock<ServerLog>>);

impl std::fmt::Debug for LogCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogCell")
    }
}

impl LogCell {
    pub(super) fn set(&self, log: ServerLog) {
        // It is set once.
        let _ = self.0.set(log);
    }

    pub(super) fn log(&self, line: &str) {
        if let Some(log) = self.0.get() {
            log(line);
        }
    }
}

/// The parts of a server that its front uses.
#[derive(Clone, Debug)]
pub(crate) struct FrontParts {
    pub(crate) queue: Arc<JobQueue>,
    pub(crate) gallery: Arc<Gallery>,
    pub(crate) models: Arc<ModelCatalog>,
    pub(crate) metrics: Arc<Metrics>,
    /// What nobody else has, for the name of the front.
    pub(crate) salt: Vec<u8>,
}

/// What the task of a job hears.
#[derive(Debug)]
pub(super) enum Mail {
    /// A worker reports on a part.
    Event(usize, WorkerEvent),
    /// The result of a part may be there.
    Result(usize),
    /// The job has ended by itself: it was cancelled.
    Ended,
}

/// A front that runs.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) broker: Broker,
    /// Its name in subjects.
    pub(super) name: String,
    pub(super) parts: FrontParts,
    pub(super) inventory: Inventory,
    boxes: Mutex<HashMap<JobId, UnboundedSender<Mail>>>,
    log: LogCell,
    /// Lines that would come again and again.
    logged: LoggedLines,
}

impl Front {
    pub(super) fn new(
        broker: Broker,
        name: String,
        parts: FrontParts,
        inventory: Inventory,
        log: LogCell,
    ) -> Front {
        Front {
            broker,
            name,
            parts,
            inventory,
            boxes: Mutex::new(HashMap::new()),
            log,
            logged: LoggedLines::default(),
        }
    }

    pub(super) fn boxes(&self) -> MutexGuard<'_, HashMap<JobId, UnboundedSender<Mail>>> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log(&self, line: &str) {
        self.log.log(line);
    }

    /// Logs a line once.
    pub(super) fn log_new(&self, line: &str) {
        if self.logged.is_new(line) {
            self.log(line);
        }
    }

    /// Notes that the broker takes what is sent.
    pub(super) fn is_well(&self) {
        if self.logged.settle() {
            self.log("the broker takes what is sent again");
        }
    }

    /// The class of workers that draw its jobs.
    pub(super) fn class(&self) -> &str {
        self.broker.options.isa.as_deref().unwrap_or("any")
    }

    pub(super) fn key(&self, job: JobId, part: usize) -> PartKey {
        PartKey { front: self.name.clone(), job, part }
    }

    /// Tells the task of a job; whether there is one.
    pub(super) fn send(&self, job: JobId, mail: Mail) -> bool {
        self.boxes().get(&job).is_some_and(|sender| sender.send(mail).is_ok())
    }

    /// A worker reports.
    pub(super) async fn heard(&self, subject: &str, payload: &[u8]) {
        let Some(key) = PartKey::of_subject(subject).filter(|key| key.front == self.name) else { return };
        let message = match wire::read::<EventMessage>("what a worker reports", payload) {
            Ok(message) => message,
            // The worker gives the job back, or its result is refused in the same words.
            Err(error) => return self.log_new(&format!("job {}: {error}", key.job)),
        };
        let is_sent = self.send(key.job, Mail::Event(key.part, message.event));
        if !is_sent && !self.parts.queue.is_active(key.job) {
            // Whoever draws it has not heard that nobody wants it.
            self.broker.send_unkept(key.subject("cancel"), Vec::new()).await;
        }
    }

    /// Jobs whose tasks have not heard that they ended.
    pub(super) fn note_ended(&self) {
        let ids: Vec<JobId> = self.boxes().keys().copied().collect();
        for id in ids.into_iter().filter(|id| !self.parts.queue.is_active(*id)) {
            self.send(id, Mail::Ended);
        }
    }
}
