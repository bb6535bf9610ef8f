//! Sends the jobs of a server to the broker, and hears what becomes of them.

use super::broker::Broker;
use super::dead::ParkedJob;
use super::front::{Front, FrontParts, LogCell, Mail};
use super::inventory::Inventory;
use super::options::QueueOptions;
use super::wire::{self, PartKey, ResultMessage, WorkerInfo};
use crate::error::ApiError;
use crate::lifecycle::ServerLog;
use crate::queue::ServerEvent;
use futures_util::StreamExt;
use latent_app::hash;
use latent_app::threads::spawn;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;

/// Time between two looks at what may have been missed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);
/// Time between two looks at whether the jobs that run have ended, when the server is about to stop.
const DRAIN_INTERVAL: Duration = Duration::from_millis(50);
/// Jobs set aside that are listed.
const MAX_PARKED: usize = 50;
/// Digits of a front's name.
const NAME_DIGITS: usize = 12;

/// The connection of a server to the broker.
#[derive(Clone, Debug)]
pub(crate) struct QueueFront {
    broker: Broker,
    runtime: Handle,
    log: LogCell,
}

impl QueueFront {
    /// Connects to the broker.
    pub(crate) async fn connect(options: QueueOptions) -> Result<QueueFront, ApiError> {
        let log = LogCell::default();
        let own = log.clone();
        let broker = Broker::connect(options, Arc::new(move |line: &str| own.log(line))).await?;
        Ok(QueueFront { broker, runtime: Handle::current(), log })
    }

    /// From now on lines are logged.
    pub(crate) fn set_log(&self, log: ServerLog) {
        self.log.set(log);
    }

    /// Workers that gave a sign of life.
    pub(crate) async fn workers(&self) -> Result<Vec<WorkerInfo>, ApiError> {
        super::worker::workers_of(&self.broker).await
    }

    /// The last jobs that were set aside, of all fronts.
    pub(crate) async fn parked(&self) -> Result<Vec<ParkedJob>, ApiError> {
        self.broker.parked(MAX_PARKED).await
    }

    /// Starts to send jobs. The thread ends when the queue is drained.
    pub(crate) fn start(&self, parts: FrontParts) -> Result<JoinHandle<()>, ApiError> {
        let name: String = hash::of_bytes(&parts.salt).chars().take(NAME_DIGITS).collect();
        let inventory = Inventory::new(parts.models.clone());
        let front = Front::new(self.broker.clone(), name, parts, inventory, self.log.clone());
        let front = Arc::new(front);
        let runtime = self.runtime.clone();
        runtime.spawn(follow(front.clone()));
        let work = move || {
            let queue = front.parts.queue.clone();
            while let Some(record) = queue.next_to_send() {
                runtime.spawn(super::result::run_job(front.clone(), record));
            }
            // What waits or runs elsewhere goes on, and its results are taken after the next start.
            while queue.counts().1 > 0 && !queue.is_stopping() {
                std::thread::sleep(DRAIN_INTERVAL);
            }
        };
        spawn(work).map_err(|error| ApiError::failed(format!("cannot start a thread for the queue: {error}")))
    }
}

/// A result is there, or may be.
fn found_result(front: &Arc<Front>, key: PartKey) {
    if !front.send(key.job, Mail::Result(key.part)) && !front.parts.queue.is_active(key.job) {
        tokio::spawn(discard(front.clone(), key));
    }
}

/// Looks for what was missed while there was no connection, or while this front was not there.
async fn sweep(front: &Arc<Front>) {
    front.note_ended();
    if let Ok(keys) = front.broker.result_keys(&front.name).await {
        keys.into_iter().for_each(|key| found_result(front, key));
    }
    if let Ok([jobs, dead, _]) = front.broker.depth().await {
        let metrics = &front.parts.metrics.shared_queue;
        metrics.depth.set(jobs);
        metrics.dead.set(dead);
    }
}

/// Removes a result that nobody waits for, with its images.
async fn discard(front: Arc<Front>, key: PartKey) {
    if let Ok(Some(bytes)) = front.broker.result(&key).await
        && let Ok(message) = wire::read::<ResultMessage>("a result", &bytes)
    {
        front.broker.remove_objects(message.objects()).await;
    }
    let _ = front.broker.remove_results(&front.name, key.job).await;
}

/// Follows results, events and the queue, for ever.
async fn follow(front: Arc<Front>) {
    let client = &front.broker.client;
    let subscribe = async |kind: &str| client.subscribe(format!("latent.{kind}.{}.>", front.name)).await;
    // A subscription is only refused by a client that has ended.
    let (Ok(mut results), Ok(mut events)) = (subscribe("results").await, subscribe("events").await) else {
        return;
    };
    front.parts.metrics.shared_queue.is_used.set(1);
    let mut changes = front.parts.queue.subscribe();
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let sweeper = front.clone();
    // Sweeps wait for the broker, which may be away.
    tokio::spawn(async move {
        loop {
            interval.tick().await;
            sweep(&sweeper).await;
        }
    });
    loop {
        tokio::select! {
            Some(message) = results.next() => {
                if let Some(key) = PartKey::of_subject(&message.subject) {
                    found_result(&front, key);
                }
            }
            Some(message) = events.next() => front.heard(&message.subject, &message.payload).await,
            change = changes.recv() => match change {
                Ok(ServerEvent::Job(id, phase)) if phase.is_final() => drop(front.send(id, Mail::Ended)),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => front.note_ended(),
                Err(RecvError::Closed) => return,
            },
            else => return,
        }
    }
}
