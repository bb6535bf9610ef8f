//! What the loops of a worker share.

use super::broker::Broker;
use super::inventory::Inventory;
use super::logged_lines::LoggedLines;
use super::parcel::WorkerFolders;
use super::wire::{self, PartKey, SCHEMA, WorkerInfo};
use crate::error::ApiError;
use crate::gallery::Gallery;
use crate::lifecycle::ServerLog;
use crate::models::ModelCatalog;
use crate::queue::JobQueue;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Time between two looks at the folders.
const REFRESH_INTERVAL: Duration = Duration::from_secs(20);
/// Time between two tries while the broker is away.
const RETRY: Duration = Duration::from_millis(300);
/// Time between two signs of life at least.
const NEWS_INTERVAL: Duration = Duration::from_millis(250);

/// What the loops of a worker share.
pub(super) struct WorkerSite {
    pub(super) broker: Broker,
    pub(super) name: String,
    machine: String,
    /// What no other start of a worker of this name has.
    pub(super) instance: String,
    pub(super) isa: String,
    pub(super) inventory: Inventory,
    pub(super) folders: WorkerFolders,
    /// The local queue, which is empty but for what is drawn.
    pub(super) queue: Arc<JobQueue>,
    pub(super) gallery: Arc<Gallery>,
    done: AtomicU64,
    pub(super) log: ServerLog,
    pub(super) models: Arc<ModelCatalog>,
    pub(super) devices: Vec<String>,
    drawing: Mutex<Vec<String>>,
    changed: Notify,
    complaints: LoggedLines,
}

impl WorkerSite {
    /// A worker with its name and that of its machine, its devices, and its queue and gallery.
    pub(super) fn new(
        broker: Broker,
        [name, machine]: [String; 2],
        devices: Vec<String>,
        folders: WorkerFolders,
        models: Arc<ModelCatalog>,
        (queue, gallery): (JobQueue, Gallery),
        log: ServerLog,
    ) -> WorkerSite {
        let instance = broker.client.new_inbox().rsplit('.').next().unwrap_or_default().to_owned();
        WorkerSite {
            broker,
            name,
            machine,
            instance,
            isa: latent_app::threads::isa().to_owned(),
            inventory: Inventory::new(models.clone()),
            folders,
            queue: Arc::new(queue),
            gallery: Arc::new(gallery),
            done: AtomicU64::new(0),
            log,
            models,
            devices,
            drawing: Mutex::new(Vec::new()),
            changed: Notify::new(),
            complaints: LoggedLines::default(),
        }
    }

    fn drawing(&self) -> MutexGuard<'_, Vec<String>> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says once what is wrong with the broker.
    pub(super) fn complain(&self, error: &ApiError) {
        if self.complaints.is_new(&error.message) {
            (self.log)(&format!("{error}; trying again"));
        }
    }

    /// Notes that the broker takes what is sent.
    pub(super) fn is_well(&self) {
        if self.complaints.settle() {
            (self.log)("the broker takes what is sent again");
        }
    }

    /// Waits before the next try, while the broker is away or has no room. A person reads of it once.
    pub(super) async fn wait(&self, error: &ApiError) {
        self.complain(error);
        tokio::time::sleep(RETRY).await;
    }

    /// Notes a part of a job that is drawn from now on.
    pub(super) fn begins(&self, key: &PartKey) {
        self.drawing().push(key.to_string());
        self.changed.notify_one();
    }

    /// Notes that it is drawn no more.
    pub(super) fn ends(&self, key: &PartKey, is_done: bool) {
        self.drawing().retain(|own| *own != key.to_string());
        self.done.fetch_add(u64::from(is_done), Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn info(&self) -> WorkerInfo {
        WorkerInfo {
            schema: SCHEMA,
            name: self.name.clone(),
            machine: self.machine.clone(),
            instance: self.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            isa: self.isa.clone(),
            devices: self.devices.clone(),
            models: self.inventory.by_name(),
            loaded: self.inventory.loaded(),
            drawing: self.drawing().clone(),
            done: self.done.load(Ordering::Relaxed),
            heard_seconds_ago: 0,
        }
    }

    async fn give_sign_of_life(&self) -> Result<(), ApiError> {
        let put = self.broker.workers.put(&self.name, wire::to_bytes(&self.info()).into()).await;
        put.map(drop).map_err(|error| self.broker.not_stored("this worker cannot be listed", &error))
    }

    /// How many of those who had a part are gone.
    pub(super) async fn lost(&self, key: &PartKey) -> Result<u64, ApiError> {
        self.give_sign_of_life().await?;
        self.broker.lost(key, &self.instance).await
    }

    /// Says that it is there, as long as it is.
    pub(super) async fn give_signs_of_life(self: Arc<WorkerSite>) {
        loop {
            if let Err(error) = self.give_sign_of_life().await {
                self.complain(&error);
            }
            // What changes often is not answered each time.
            let interval = self.broker.sign_interval();
            tokio::time::sleep(NEWS_INTERVAL.min(interval)).await;
            let _ = tokio::time::timeout(interval, self.changed.notified()).await;
        }
    }

    /// Looks at the folders again and again.
    pub(super) async fn look_at_folders(self: Arc<WorkerSite>) {
        let mut interval = tokio::time::interval(REFRESH_INTERVAL);
        loop {
            interval.tick().await;
            let site = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                site.models.forget();
                site.inventory.refresh();
                // Those that were sent are not there any more.
                site.gallery.refresh();
            });
            if looked.await.is_err() {
                return;
            }
        }
    }
}
