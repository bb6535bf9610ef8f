//! The models that a device keeps open, so that jobs which ask for the same in turn need not load them anew.

use super::WorkerOptions;
use crate::error::{ApiError, ErrorCode};
use latent_app::device::DeviceOptions;
use latent_app::text::format_bytes;
use latent_app::{Job, Session, memory};
use latent_diffusion::tensor::Device;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Models that are kept open at most. Each may also keep a GPU's memory, of which nothing is known: there it is one.
const MAX_OPEN: usize = 8;
/// Bytes that the built-in model is taken to have.
const BUILT_IN_BYTES: u64 = 40 << 20;

/// A session with what it has open.
pub(super) struct OpenSession {
    key: String,
    files: HashSet<PathBuf>,
    /// Bytes of the files, which its weights take at most.
    pub(super) bytes: u64,
    pub(super) session: Session,
}

/// Sessions that wait for a job that needs what they have open, the one that was used last at the end.
pub(super) struct SessionPool {
    idle: Vec<OpenSession>,
    threads: Option<usize>,
    max_memory: Option<u64>,
    device: DeviceOptions,
    /// Found out with the first job: opening a GPU takes memory.
    max_open: Option<usize>,
}

impl SessionPool {
    pub(super) fn new(options: &WorkerOptions) -> SessionPool {
        SessionPool {
            idle: Vec::new(),
            threads: options.threads,
            max_memory: options.max_memory,
            device: options.device.clone(),
            max_open: None,
        }
    }

    fn max_open(&mut self) -> usize {
        let device = &self.device;
        *self.max_open.get_or_insert_with(|| match device.open(&mut |_| {}) {
            Ok(Device::Cpu) => MAX_OPEN,
            _ => 1,
        })
    }

    /// The session that has open what a job needs, or a new one.
    pub(super) fn take(&mut self, job: &Job) -> OpenSession {
        let selection = (&job.model, &job.sdxl.refiner, &job.taesd, &job.memory);
        let key = serde_json::to_string(&selection).expect("it is plain data");
        let mut open = match self.idle.iter().position(|open| open.key == key) {
            Some(at) => self.idle.remove(at),
            None => {
                let files: HashSet<PathBuf> = files(job).collect();
                let bytes = files.iter().map(|path| bytes_of(path)).sum::<u64>().max(BUILT_IN_BYTES);
                let session = Session::new().with_threads(self.threads);
                // The one that is about to be opened counts, too.
                while self.idle.len() >= self.max_open() {
                    self.idle.remove(0);
                }
                OpenSession { key, files, bytes, session }
            }
        };
        // With the UNet the decoding takes more than is estimated.
        let room = self.max_memory.or_else(memory::available).unwrap_or(u64::MAX);
        open.session.keep_unet(open.bytes.saturating_mul(2) < room);
        open
    }

    /// Keeps a session for later jobs.
    pub(super) fn give_back(&mut self, open: OpenSession) {
        self.idle.push(open);
        while self.idle.len() > self.max_open() {
            self.idle.remove(0);
        }
    }

    /// Closes models, the least recently used first, until there is room for so many bytes.
    pub(super) fn make_room(&mut self, needed: u64) -> Result<(), ApiError> {
        loop {
            let idle: u64 = self.idle.iter().map(|open| open.bytes).sum();
            let room = match self.max_memory {
                Some(max) => max.saturating_sub(idle),
                None => memory::available().unwrap_or(u64::MAX),
            };
            if needed <= room {
                return Ok(());
            }
            if self.idle.is_empty() {
                let line = format!(
                    "the job needs {} of memory, and {} may be used; a smaller image, or fewer at once, takes less",
                    format_bytes(needed),
                    format_bytes(room)
                );
                return Err(ApiError::new(ErrorCode::TooLarge, line));
            }
            self.idle.remove(0);
        }
    }

    /// Closes all.
    pub(super) fn clear(&mut self) {
        self.idle.clear();
    }

    /// The files that are open. The built-in model has an empty path.
    pub(super) fn loaded(&self) -> HashSet<PathBuf> {
        self.idle.iter().flat_map(|open| open.files.iter().cloned()).collect()
    }
}

/// The files that a job opens and that stay open.
fn files(job: &Job) -> impl Iterator<Item = PathBuf> {
    let main = job.model.model.clone().or_else(|| job.model.parts.unet.is_none().then(PathBuf::new));
    let parts = job.model.parts.paths().map(Path::to_owned);
    let others = [&job.sdxl.refiner, &job.taesd].into_iter().flatten().cloned();
    let nets = job.control.iter().map(|control| control.net.clone());
    main.into_iter().chain(parts).chain(others).chain(nets)
}

fn bytes_of(path: &Path) -> u64 {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| bytes_of(&entry.path())).sum()
        }
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}
