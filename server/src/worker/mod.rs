//! Draws the jobs of the queue: a thread for each device, which takes one job after the other.
//!
//! Sampling blocks for minutes and has threads of its own, so nothing of it runs on the threads that answer requests.

mod draw;
mod other;
mod pool;
mod report;

use crate::error::{ApiError, ErrorCode};
use crate::gallery::Gallery;
use crate::models::ModelCatalog;
use crate::queue::{DeviceTurn, JobOutcome, JobQueue, TakenJob};
use crate::work::Work;
use latent_app::device::{DeviceChoice, DeviceOptions};
use latent_app::threads::spawn;
use pool::SessionPool;
use report::JobReport;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// What a device needs to draw.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The queue.
    pub queue: Arc<JobQueue>,
    /// Where images are written.
    pub gallery: Arc<Gallery>,
    /// Where models are found.
    pub models: Arc<ModelCatalog>,
    /// The folder of LoRAs, for images that are drawn again.
    pub lora_dir: Option<PathBuf>,
    /// A folder for files that are there while a job runs.
    pub temporary: PathBuf,
    /// The device.
    pub device: DeviceOptions,
    /// Its name in the API.
    pub name: String,
    /// Its threads.
    pub threads: Option<usize>,
    /// Bytes that models and jobs may take.
    pub max_memory: Option<u64>,
}

/// Starts the thread of a device. It ends when the queue is drained.
///
/// # Errors
/// A thread that cannot be started.
pub fn start(options: WorkerOptions) -> Result<JoinHandle<()>, ApiError> {
    let work = move || {
        let mut pool = SessionPool::new(&options);
        let mut unloads = 0;
        while let Some(turn) = options.queue.next_turn(&options.name, &mut unloads) {
            match turn {
                DeviceTurn::Draw(taken) => run(&options, &mut pool, &taken),
                DeviceTurn::Unload => {
                    pool.clear();
                    options.models.set_loaded(pool.loaded());
                }
            }
        }
    };
    spawn(work).map_err(|error| ApiError::failed(format!("cannot start a thread for a device: {error}")))
}

/// Runs a job and ends it in the queue. Whatever happens, the thread goes on with the next.
fn run(options: &WorkerOptions, pool: &mut SessionPool, taken: &TakenJob) {
    let id = taken.record.id;
    let drawn = catch_unwind(AssertUnwindSafe(|| one(options, pool, taken)));
    let outcome = match drawn {
        Ok(Ok(())) => JobOutcome::Done,
        Ok(Err(error)) if error.code == ErrorCode::Conflict => JobOutcome::Cancelled,
        Ok(Err(error)) => JobOutcome::Failed(without_folder(error, options.gallery.folder())),
        Err(_) => {
            // What it left behind may be anything.
            pool.clear();
            JobOutcome::Failed(ApiError::failed(
                "the program has a fault: this job ended in a panic; please report it",
            ))
        }
    };
    options.models.set_loaded(pool.loaded());
    options.queue.finish(id, outcome);
}

/// An error whose line names an image without its folder, which is not a client's business.
fn without_folder(mut error: ApiError, folder: &Path) -> ApiError {
    let folder = format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR);
    error.message = error.message.replace(&folder, "");
    error
}

fn one(options: &WorkerOptions, pool: &mut SessionPool, taken: &TakenJob) -> Result<(), ApiError> {
    let work = options.queue.work(taken.record.id)?;
    let mut report = JobReport::new(options, taken)?;
    let drawn = match work {
        Work::Draw { job } => draw::draw(*job, pool, &mut report),
        Work::Grid { job, axes } => draw::grid(*job, axes, pool, &mut report),
        Work::Upscale { image, model, scale } => other::upscale(&image, model, scale, &mut report),
        Work::UpscalePart { image, model, part } => {
            other::upscale_part(&image, model.as_deref(), &part, &mut report)
        }
        Work::Replay { image, force } => other::replay(&image, force, pool, &mut report),
    };
    sync(options.gallery.folder());
    drawn
}

/// Makes sure that the names of new files are on disk before the job counts as done.
fn sync(folder: &Path) {
    // Elsewhere folders cannot be opened; a file system that refuses loses names in a power cut alone.
    #[cfg(unix)]
    let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    #[cfg(not(unix))]
    let _ = folder;
}

/// The name of a device in the API.
#[must_use]
pub fn device_name(device: &DeviceOptions) -> String {
    device.device.as_ref().unwrap_or(&DeviceChoice::Auto).to_string()
}

/// What each device may take of the memory for all: its part, so that they need not wait for each other and whether there is
/// room for a job does not depend on what the others draw.
pub(crate) fn share(max_memory: Option<u64>, devices: usize) -> Option<u64> {
    max_memory.map(|bytes| bytes / devices.max(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_all_devices_are_the_maximum_together() {
        for devices in 1..5 {
            let part = share(Some(8000), devices).unwrap();
            assert!(part * devices as u64 <= 8000 && part >= 8000 / devices as u64);
        }
        assert_eq!((share(Some(8000), 0), share(None, 2)), (Some(8000), None));
    }
}
