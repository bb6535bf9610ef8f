//! How much memory this process takes, as the system reports it. Known on Linux only.

use latent_kernels::parallel;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the memory is sampled. Anonymous memory that comes and goes in between is not seen.
const INTERVAL: Duration = Duration::from_millis(10);

/// Memory of this process in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessMemory {
    /// All that is resident: `VmRSS`.
    pub rss: u64,
    /// The part that belongs to no file: `RssAnon`.
    pub anonymous: u64,
}

impl ProcessMemory {
    fn now() -> Option<ProcessMemory> {
        let status = status()?;
        Some(ProcessMemory { rss: field(&status, "VmRSS:")?, anonymous: field(&status, "RssAnon:")? })
    }

    /// The larger of each.
    pub(super) fn highest(self, other: ProcessMemory) -> ProcessMemory {
        ProcessMemory { rss: self.rss.max(other.rss), anonymous: self.anonymous.max(other.anonymous) }
    }
}

/// The maximum that was ever resident, also between two samples: `VmHWM`.
pub(super) fn highest_rss() -> Option<u64> {
    field(&status()?, "VmHWM:")
}

fn status() -> Option<String> {
    if cfg!(target_os = "linux") { std::fs::read_to_string("/proc/self/status").ok() } else { None }
}

/// A line of the status such as `VmRSS:     1234 kB`, in bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A thread that samples the memory until this is dropped.
pub(super) struct MemoryWatch {
    shared: Arc<WatchState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct WatchState {
    /// `None` before the first sample and where nothing can be known.
    highest: Mutex<Option<ProcessMemory>>,
    stop: AtomicBool,
}

impl WatchState {
    /// The numbers are consistent at any time: a panic elsewhere cannot leave them broken.
    fn highest(&self) -> MutexGuard<'_, Option<ProcessMemory>> {
        self.highest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sample(&self) {
        if let Some(now) = ProcessMemory::now() {
            let mut highest = self.highest();
            *highest = Some(highest.unwrap_or_default().highest(now));
        }
    }
}

impl MemoryWatch {
    pub(super) fn start() -> MemoryWatch {
        let shared = Arc::new(WatchState::default());
        let of_thread = shared.clone();
        let watch = move || {
            while !of_thread.stop.load(Ordering::Relaxed) {
                of_thread.sample();
                std::thread::sleep(INTERVAL);
            }
        };
        let thread = cfg!(target_os = "linux").then(|| parallel::spawn(watch).ok()).flatten();
        MemoryWatch { shared, thread }
    }

    /// The maximum since the last call.
    pub(super) fn take(&self) -> Option<ProcessMemory> {
        self.shared.sample();
        self.shared.highest().take()
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and if it did, the figures would be there.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_status() {
        let status = "Name:\tlatent\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t       3 kB\n";
        assert_eq!(field(status, "VmHWM:"), Some(2048 * 1024));
        assert_eq!(field(status, "RssAnon:"), Some(3 * 1024));
        assert_eq!(field(status, "RssFile:"), None);
        assert_eq!(field("VmRSS: many kB", "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_taken_is_seen() {
        let watch = MemoryWatch::start();
        let before = watch.take().unwrap().anonymous;
        let taken = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = watch.take().unwrap();
        assert!(after.anonymous >= before + (60 << 20) && after.rss >= after.anonymous, "{before} {after:?}");
        assert!(highest_rss().unwrap() >= after.rss);
        drop(taken);
    }
}
