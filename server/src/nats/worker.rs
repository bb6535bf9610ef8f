//! A machine that draws jobs of the shared queue.

use super::broker::Broker;
use super::lane::Lane;
use super::options::QueueOptions;
use super::parcel::WorkerFolders;
use super::site::WorkerSite;
use super::wire::{self, WorkerInfo};
use crate::error::ApiError;
use crate::gallery::Gallery;
use crate::lifecycle::{ServerLog, ShutdownHandle};
use crate::metrics::Metrics;
use crate::models::ModelCatalog;
use crate::queue::{JobQueue, JobStore, QueueLimits};
use crate::worker::{self, WorkerOptions, device_name, share};
use latent_app::device::{DeviceChoice, DeviceOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;

/// Time for a job that is given back to end, and for last words.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Letters of a worker's name.
const MAX_NAME: usize = 64;

/// Settings of a worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueWorkerOptions {
    /// The queue.
    pub queue: QueueOptions,
    /// Its name, in letters, digits, `-` and `_`; that of the machine and the process when `None`.
    pub name: Option<String>,
    /// Folder of models; the usual ones when `None`.
    pub models_dir: Option<PathBuf>,
    /// Folder of LoRAs.
    pub lora_dir: Option<PathBuf>,
    /// Folder of the textual inversions that prompts name.
    pub embd_dir: Option<PathBuf>,
    /// Folder of wildcards.
    pub wildcards: Option<PathBuf>,
    /// The devices that draw, one part of a job at a time each.
    pub devices: Vec<DeviceOptions>,
    /// Threads of each device; one for each core when `None`.
    pub threads: Option<usize>,
    /// Bytes of memory that models and jobs may take; what is free when `None`.
    pub max_memory: Option<u64>,
}

impl QueueWorkerOptions {
    /// A worker of a queue with the usual folders.
    #[must_use]
    pub fn new(queue: QueueOptions) -> QueueWorkerOptions {
        QueueWorkerOptions {
            queue,
            name: None,
            models_dir: None,
            lora_dir: None,
            embd_dir: None,
            wildcards: None,
            devices: vec![DeviceOptions::default()],
            threads: None,
            max_memory: None,
        }
    }
}

/// A worker that is ready to run.
pub struct QueueWorker {
    options: QueueWorkerOptions,
    broker: Broker,
    runtime: Runtime,
    log: ServerLog,
    stop: ShutdownHandle,
}

impl std::fmt::Debug for QueueWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueWorker").field("broker", &self.broker).finish_non_exhaustive()
    }
}

fn runtime() -> Result<Runtime, ApiError> {
    let failed = |error| ApiError::failed(format!("cannot start threads for the queue: {error}"));
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(failed)
}

/// The workers of a queue that gave a sign of life.
///
/// # Errors
/// A broker that cannot be reached, or that refuses the login.
pub fn list_workers(options: QueueOptions) -> Result<Vec<WorkerInfo>, ApiError> {
    runtime()?.block_on(async { workers_of(&Broker::connect(options, Arc::new(|_: &str| {})).await?).await })
}

/// The workers of a broker, by name.
pub(super) async fn workers_of(broker: &Broker) -> Result<Vec<WorkerInfo>, ApiError> {
    let with_time = |(mut info, heard): (WorkerInfo, SystemTime)| {
        info.heard_seconds_ago = SystemTime::now().duration_since(heard).map_or(0, |time| time.as_secs());
        info
    };
    let mut workers: Vec<WorkerInfo> = broker.signs().await?.into_iter().map(with_time).collect();
    workers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(workers)
}

impl QueueWorker {
    /// Connects to the broker. `log` gets lines for a person.
    ///
    /// # Errors
    /// A broker that cannot be reached, or that refuses the login; a name that cannot be one.
    pub fn connect(options: QueueWorkerOptions, log: ServerLog) -> Result<QueueWorker, ApiError> {
        if let Some(name) = options.name.as_ref().filter(|name| !wire::is_token(name)) {
            let line = format!("name: {name:?} is not made of letters, digits, - and _, up to {MAX_NAME}");
            return Err(ApiError::bad_input(line));
        }
        let runtime = runtime()?;
        let broker = runtime.block_on(Broker::connect(options.queue.clone(), log.clone()))?;
        Ok(QueueWorker { options, broker, runtime, log, stop: ShutdownHandle::new() })
    }

    /// Asks it to stop: what it draws is given back at once, and another worker draws it.
    #[must_use]
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.stop.clone()
    }

    /// Draws until it is asked to stop.
    ///
    /// # Errors
    /// Folders or threads that cannot be made.
    pub fn run(self) -> Result<(), ApiError> {
        let QueueWorker { options, broker, runtime, log, stop } = self;
        let folder = tempfile::TempDir::new().map_err(|error| ApiError::io("a temporary folder", &error))?;
        let others = [&options.lora_dir, &options.embd_dir].into_iter().flatten().cloned().collect();
        let models = Arc::new(ModelCatalog::new(options.models_dir.clone(), others));
        let limits = QueueLimits { jobs: usize::MAX, jobs_per_client: usize::MAX };
        let queue = JobQueue::new(JobStore::in_memory()?, limits, Arc::new(Metrics::default()))?;
        let gallery = Gallery::open(&folder.path().join("images"), &folder.path().join("thumbnails"))?;
        let devices = device_names(&options.devices);
        let folders =
            WorkerFolders { embd_dir: options.embd_dir.clone(), wildcards: options.wildcards.clone() };
        let machine = machine_name();
        let name = options.name.clone().unwrap_or_else(|| format!("{machine}-{}", std::process::id()));
        let site =
            WorkerSite::new(broker, [name, machine], devices.clone(), folders, models, (queue, gallery), log);
        let site = Arc::new(site);
        let start = |(device, name): (&DeviceOptions, &String)| {
            worker::start(WorkerOptions {
                queue: site.queue.clone(),
                gallery: site.gallery.clone(),
                models: site.models.clone(),
                lora_dir: options.lora_dir.clone(),
                temporary: folder.path().to_owned(),
                device: device.clone(),
                name: name.clone(),
                threads: options.threads,
                max_memory: share(options.max_memory, options.devices.len()),
            })
        };
        let threads: Vec<_> = options.devices.iter().zip(&devices).map(start).collect::<Result<_, _>>()?;
        runtime.block_on(draw_until_stopped(&site, &options.devices, &stop));
        site.queue.stop();
        // A job that is cancelled ends within a block of its network.
        threads.into_iter().for_each(|thread| drop(thread.join()));
        runtime.shutdown_timeout(LAST_WORDS);
        Ok(())
    }
}

async fn draw_until_stopped(site: &Arc<WorkerSite>, devices: &[DeviceOptions], stop: &ShutdownHandle) {
    tokio::spawn(site.clone().look_at_folders());
    let alive = tokio::spawn(site.clone().give_signs_of_life());
    (site.log)(&format!("worker {} waits for jobs", site.name));
    let mut lanes = tokio::task::JoinSet::new();
    for (device, name) in devices.iter().zip(&site.devices) {
        let mut classes = vec!["any".to_owned()];
        if device.device == Some(DeviceChoice::Cpu) {
            classes.insert(0, site.isa.clone());
        }
        let (site, device, stop) = (site.clone(), name.clone(), stop.requests());
        lanes.spawn(Lane { site, device, classes, stop }.run());
    }
    // As if somebody else listened: previews are made only then, and the lanes pass them on.
    let _listener = site.queue.subscribe();
    while lanes.join_next().await.is_some() {}
    alive.abort();
    let last_words = async {
        let _ = site.broker.workers.delete(&site.name).await;
        let _ = site.broker.client.flush().await;
    };
    let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
}

/// Names of devices, each once.
fn device_names(devices: &[DeviceOptions]) -> Vec<String> {
    let names: Vec<String> = devices.iter().map(device_name).collect();
    let numbered = |(index, name): (usize, &String)| {
        if names[..index].contains(name) { format!("{name}#{index}") } else { name.clone() }
    };
    names.iter().enumerate().map(numbered).collect()
}

/// The name of this machine.
fn machine_name() -> String {
    #[cfg(unix)]
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let host = std::env::var("COMPUTERNAME").unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let host: String = host.chars().map(plain).take(MAX_NAME - 12).collect();
    if host.is_empty() { "worker".into() } else { host }
}
