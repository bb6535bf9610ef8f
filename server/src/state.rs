//! What all requests share.

use crate::auth::AccessRules;
use crate::error::ApiError;
use crate::gallery::{Gallery, GalleryChange};
use crate::metrics::Metrics;
use crate::models::{FolderWatch, ModelCatalog};
use crate::options::ServerOptions;
use crate::queue::{JobQueue, JobStore, QueueLimits, ServerEvent};
use crate::request::RequestReader;
use crate::webui::WebuiSettings;
pub use crate::worker::device_name;
use crate::worker::{self, WorkerOptions, share};
use latent_app::device::DeviceOptions;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::Semaphore;

/// What all requests share. Clones share it, too.
#[derive(Clone, Debug)]
pub struct ServerState(Arc<Shared>);

/// The parts of the server.
#[derive(Debug)]
pub struct Shared {
    /// What it was started with.
    pub options: ServerOptions,
    /// Who may use it.
    pub access: AccessRules,
    /// The queue.
    pub queue: Arc<JobQueue>,
    /// The images.
    pub gallery: Arc<Gallery>,
    /// The models.
    pub models: Arc<ModelCatalog>,
    /// Makes jobs of requests.
    pub requests: RequestReader,
    /// What clients of the webui's API have set.
    pub webui: WebuiSettings,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// A folder for files that are there for a moment.
    pub temporary: PathBuf,
    /// The queue that several machines share.
    #[cfg(feature = "nats")]
    pub(crate) front: Option<crate::nats::QueueFront>,
    #[cfg(feature = "nats")]
    salt: Vec<u8>,
    /// Headers of models that are looked at, at once.
    pub inspecting: Semaphore,
    watches: Mutex<Vec<FolderWatch>>,
}

impl std::ops::Deref for ServerState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl ServerState {
    /// Opens the queue and the folders. Nothing is drawn yet.
    ///
    /// # Errors
    /// Folders that cannot be made, or a queue that another server uses.
    pub fn open(options: ServerOptions) -> Result<ServerState, ApiError> {
        ServerState::open_with(
            options,
            #[cfg(feature = "nats")]
            None,
        )
    }

    /// The same with the connection to a queue that several machines share.
    pub(crate) fn open_with(
        options: ServerOptions,
        #[cfg(feature = "nats")] front: Option<crate::nats::QueueFront>,
    ) -> Result<ServerState, ApiError> {
        let make = |folder: &Path| {
            make_private(folder).map_err(|error| ApiError::io(&folder.display().to_string(), &error))
        };
        make(&options.state_dir)?;
        // From here on no other server uses the folder.
        let store = JobStore::open(&options.state_dir)?;
        let temporary = options.state_dir.join("tmp");
        // What a crash left behind.
        let _ = std::fs::remove_dir_all(&temporary);
        make(&temporary)?;
        let salt = salt(&options.state_dir)?;
        let metrics = Arc::new(Metrics::default());
        let limits = QueueLimits { jobs: options.max_queue, jobs_per_client: options.max_queue_per_client };
        let queue = Arc::new(JobQueue::new(store, limits, metrics.clone())?);
        let gallery = Gallery::open(&options.output_dir, &options.state_dir.join("thumbnails"))?;
        let gallery = Arc::new(gallery);
        let others = [&options.lora_dir, &options.embd_dir].into_iter().flatten().cloned().collect();
        let models = Arc::new(ModelCatalog::new(options.models_dir.clone(), others));
        let requests = RequestReader {
            models: models.clone(),
            gallery: gallery.clone(),
            lora_dir: options.lora_dir.clone(),
            embd_dir: options.embd_dir.clone(),
            wildcards: options.wildcards.clone(),
            default_model: options.default_model.clone(),
            devices: options.devices.iter().map(device_name).collect(),
        };
        let access =
            AccessRules::new(options.api_key.as_deref(), &salt, &options.cors, &options.allowed_hosts);
        let webui = WebuiSettings::open(&options.state_dir);
        let (watches, inspecting) = (Mutex::new(Vec::new()), Semaphore::new(2));
        let shared = Shared {
            options,
            access,
            queue,
            gallery,
            models,
            requests,
            webui,
            metrics,
            temporary,
            #[cfg(feature = "nats")]
            front,
            #[cfg(feature = "nats")]
            salt,
            inspecting,
            watches,
        };
        Ok(ServerState(Arc::new(shared)))
    }

    /// Starts a thread for each device, or one that sends jobs to other machines.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub fn start_workers(&self) -> Result<Vec<JoinHandle<()>>, ApiError> {
        #[cfg(feature = "nats")]
        if let Some(front) = &self.front {
            let parts = crate::nats::FrontParts {
                queue: self.queue.clone(),
                gallery: self.gallery.clone(),
                models: self.models.clone(),
                metrics: self.metrics.clone(),
                salt: self.salt.clone(),
            };
            return Ok(vec![front.start(parts)?]);
        }
        let start = |device: &DeviceOptions| {
            worker::start(WorkerOptions {
                queue: self.queue.clone(),
                gallery: self.gallery.clone(),
                models: self.models.clone(),
                lora_dir: self.options.lora_dir.clone(),
                temporary: self.temporary.clone(),
                device: device.clone(),
                name: device_name(device),
                threads: self.options.threads,
                max_memory: share(self.options.max_memory, self.options.devices.len()),
            })
        };
        self.options.devices.iter().map(start).collect()
    }

    /// Watches the folders of models and images, and tells those who listen what came and went.
    pub fn watch(&self) {
        // The threads that watch end some time after the server: they must not keep the queue open.
        let (queue, models) = (Arc::downgrade(&self.queue), self.models.clone());
        let of_models = FolderWatch::start(&self.models.folders(), true, move || {
            models.forget();
            if let Some(queue) = queue.upgrade() {
                queue.publish(ServerEvent::Models);
            }
        });
        let (queue, gallery) = (Arc::downgrade(&self.queue), self.gallery.clone());
        // What is there already is not news.
        gallery.refresh();
        let of_images =
            FolderWatch::start(std::slice::from_ref(&self.options.output_dir), false, move || {
                let GalleryChange { added, removed } = gallery.refresh();
                let has_changed = !added.is_empty() || !removed.is_empty();
                if let Some(queue) = queue.upgrade().filter(|_| has_changed) {
                    queue.publish(ServerEvent::Gallery { added: added.into(), removed: removed.into() });
                }
            });
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.extend([of_models, of_images].into_iter().flatten());
    }
}

/// Makes a folder that others on this machine cannot look into: requests hold prompts and images.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A random number of this installation, kept beside the queue.
fn salt(folder: &Path) -> Result<Vec<u8>, ApiError> {
    let path = folder.join("salt");
    match std::fs::read(&path) {
        Ok(salt) if salt.len() == 32 => return Ok(salt),
        _ => {}
    }
    // The keys of the standard library's hashers come from the system's random numbers.
    let salt: Vec<u8> = (0..4u64).flat_map(|i| RandomState::new().hash_one(i).to_le_bytes()).collect();
    std::fs::write(&path, &salt).map_err(|error| ApiError::io(&path.display().to_string(), &error))?;
    Ok(salt)
}
