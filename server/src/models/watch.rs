//! Notices that files came or went.

use latent_app::threads::spawn;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How long it must be quiet before the change is reported: a large file takes a while to be copied.
const QUIET: Duration = Duration::from_millis(500);

/// Watches folders until it is dropped.
#[derive(Debug)]
pub struct FolderWatch {
    _watcher: RecommendedWatcher,
}

impl FolderWatch {
    /// Watches the folders that exist, with those in them if `recursive`, and calls `changed` in a thread of its own some
    /// time after something changed. `None` where the system cannot watch.
    #[must_use]
    pub fn start(
        folders: &[PathBuf],
        recursive: bool,
        changed: impl Fn() + Send + 'static,
    ) -> Option<FolderWatch> {
        let (send, receive) = channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is not a change.
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // The thread has ended if the watch is being dropped.
                let _ = send.send(());
            }
        })
        .ok()?;
        let mode = if recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            // One that cannot be watched is looked at when somebody asks.
            let _ = watcher.watch(folder, mode);
        }
        spawn(move || wait(&receive, changed)).ok()?;
        Some(FolderWatch { _watcher: watcher })
    }
}

/// Calls `changed` whenever it is quiet after changes, until the watcher is gone.
fn wait(receive: &Receiver<()>, changed: impl Fn()) {
    while receive.recv().is_ok() {
        loop {
            match receive.recv_timeout(QUIET) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        changed();
    }
}
