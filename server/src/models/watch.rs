//! Notices that files came or went.

use latent_app::threads::spawn;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How long it must be quiet before the change is reported: a large file takes a while to be copied.
const QUIET: Duration = Duration::from_millis(500);
/// Maximum number of folders, each in the one before, that may be made while the watch follows them.
const MAX_LEVELS: usize = 16;

/// Watches folders until it is dropped.
#[derive(Debug)]
pub struct FolderWatch {
    _watched: Arc<Mutex<WatchedFolders>>,
}

/// What is watched now: of a folder that does not exist the nearest one above it that does.
#[derive(Debug)]
struct WatchedFolders {
    watcher: RecommendedWatcher,
    folders: Vec<PathBuf>,
    mode: RecursiveMode,
    now: BTreeMap<PathBuf, RecursiveMode>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FolderChange {
    /// Something in a folder, or a folder that was made.
    Content,
    /// A folder itself, or one above it, went away or has another name: it must be watched anew.
    Place,
}

impl FolderWatch {
    /// Watches folders, with those in them if `recursive`, and calls `changed` in a thread of its own some time after
    /// something changed. Folders may come later, and go and come again. `None` where the system cannot watch.
    #[must_use]
    pub fn start(
        folders: &[PathBuf],
        recursive: bool,
        changed: impl Fn() + Send + 'static,
    ) -> Option<FolderWatch> {
        let (send, receive) = channel();
        let folders: Vec<PathBuf> =
            folders.iter().map(|folder| std::path::absolute(folder).unwrap_or(folder.clone())).collect();
        // Some systems report the paths to which links lead.
        let known: Vec<PathBuf> =
            folders.iter().cloned().chain(folders.iter().filter_map(|folder| resolved(folder))).collect();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Some(change) = event.ok().and_then(|event| change_of(&event, &known)) {
                // The thread has ended if the watch is being dropped.
                let _ = send.send(change);
            }
        })
        .ok()?;
        let mode = if recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        let mut watched = WatchedFolders { watcher, folders, mode, now: BTreeMap::new() };
        watched.update(false);
        let watched = Arc::new(Mutex::new(watched));
        let weak = Arc::downgrade(&watched);
        spawn(move || wait(&receive, &weak, changed)).ok()?;
        Some(FolderWatch { _watched: watched })
    }
}

impl WatchedFolders {
    /// The folders that must be watched, as they are on the disk now.
    fn wanted(&self) -> BTreeMap<PathBuf, RecursiveMode> {
        let mut wanted = BTreeMap::new();
        for folder in &self.folders {
            if folder.is_dir() {
                wanted.insert(folder.clone(), self.mode);
            } else if let Some(above) = folder.ancestors().find(|above| above.is_dir()) {
                wanted.entry(above.to_owned()).or_insert(RecursiveMode::NonRecursive);
            }
        }
        wanted
    }

    /// Watches what is there now, all of it anew if `anew`.
    fn update(&mut self, anew: bool) {
        if anew {
            self.unwatch(|_, _| true);
        }
        // A folder may be made while the one above it is not watched yet.
        for _ in 0..MAX_LEVELS {
            let wanted = self.wanted();
            if wanted == self.now {
                break;
            }
            self.unwatch(|path, mode| wanted.get(path) != Some(&mode));
            for (path, mode) in &wanted {
                if !self.now.contains_key(path) {
                    // One that cannot be watched is looked at when somebody asks.
                    let _ = self.watcher.watch(path, *mode);
                }
            }
            self.now = wanted;
        }
    }

    fn unwatch(&mut self, is_old: impl Fn(&Path, RecursiveMode) -> bool) {
        let watcher = &mut self.watcher;
        self.now.retain(|path, mode| {
            let is_old = is_old(path, *mode);
            if is_old {
                // The system forgets by itself what is gone.
                let _ = watcher.unwatch(path);
            }
            !is_old
        });
    }
}

/// The path of a folder without links, as far as it exists.
fn resolved(folder: &Path) -> Option<PathBuf> {
    let (above, real) = folder.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)))?;
    Some(real.join(folder.strip_prefix(above).ok()?))
}

/// What an event is about. Of the folders above those that are watched it matters only what leads to them.
fn change_of(event: &Event, folders: &[PathBuf]) -> Option<FolderChange> {
    // Reading a file is not a change.
    if event.kind.is_access() {
        return None;
    }
    let is_above = |path: &PathBuf| folders.iter().any(|folder| folder.starts_with(path));
    let is_inside = |path: &PathBuf| folders.iter().any(|folder| path.starts_with(folder));
    let moves =
        matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(notify::event::ModifyKind::Name(_)));
    if moves && event.paths.iter().any(is_above) {
        return Some(FolderChange::Place);
    }
    let matters = event.paths.is_empty() || event.paths.iter().any(|path| is_inside(path) || is_above(path));
    matters.then_some(FolderChange::Content)
}

/// Calls `changed` whenever it is quiet after changes, until the watcher is gone.
fn wait(receive: &Receiver<FolderChange>, watched: &Weak<Mutex<WatchedFolders>>, changed: impl Fn()) {
    while let Ok(first) = receive.recv() {
        let mut anew = first == FolderChange::Place;
        loop {
            match receive.recv_timeout(QUIET) {
                Ok(change) => anew |= change == FolderChange::Place,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        let Some(watched) = watched.upgrade() else { return };
        watched.lock().unwrap_or_else(PoisonError::into_inner).update(anew);
        drop(watched);
        changed();
    }
}
