//! What a server is started with.

use latent_app::device::DeviceOptions;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The port that clients of the webui try first.
pub const DEFAULT_PORT: u16 = 7860;

/// Settings of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The address to listen at. Port 0 is any free one.
    pub listen: SocketAddr,
    /// The key that clients must give.
    pub api_key: Option<String>,
    /// Whether anybody may use a server that other machines reach, without a key.
    pub no_auth: bool,
    /// Origins of other sites whose pages may use the API.
    pub cors: Vec<String>,
    /// Names under which this machine is reached, besides `localhost` and addresses.
    pub allowed_hosts: Vec<String>,
    /// Where images are written.
    pub output_dir: PathBuf,
    /// Where the queue is kept.
    pub state_dir: PathBuf,
    /// Folder of models; the usual ones when `None`.
    pub models_dir: Option<PathBuf>,
    /// Folder of the LoRAs that prompts name.
    pub lora_dir: Option<PathBuf>,
    /// Folder of the textual inversions that prompts name.
    pub embd_dir: Option<PathBuf>,
    /// Folder of wildcards.
    pub wildcards: Option<PathBuf>,
    /// Name of the model of jobs that name none.
    pub default_model: Option<String>,
    /// The devices that draw, one job at a time each.
    pub devices: Vec<DeviceOptions>,
    /// Threads of each device; one for each core when `None`.
    pub threads: Option<usize>,
    /// Bytes of memory that models and jobs may take, all devices together, each an equal part; what is free when `None`.
    pub max_memory: Option<u64>,
    /// Jobs that may wait.
    pub max_queue: usize,
    /// Jobs of one client that may wait.
    pub max_queue_per_client: usize,
    /// Whether the log has prompts.
    pub log_prompts: bool,
    /// The queue that several machines share, whose workers draw in place of the devices; none when `None`.
    #[cfg(feature = "nats")]
    pub queue: Option<crate::nats::QueueOptions>,
}

impl ServerOptions {
    /// A server for this machine alone, which writes images and its state to these folders.
    #[must_use]
    pub fn new(output_dir: PathBuf, state_dir: PathBuf) -> ServerOptions {
        ServerOptions {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            api_key: None,
            no_auth: false,
            cors: Vec::new(),
            allowed_hosts: Vec::new(),
            output_dir,
            state_dir,
            models_dir: None,
            lora_dir: None,
            embd_dir: None,
            wildcards: None,
            default_model: None,
            devices: vec![DeviceOptions::default()],
            threads: None,
            max_memory: None,
            max_queue: 4096,
            max_queue_per_client: 2048,
            log_prompts: false,
            #[cfg(feature = "nats")]
            queue: None,
        }
    }
}
