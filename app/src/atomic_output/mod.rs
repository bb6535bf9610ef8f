//! Files and folders that appear when they are whole, and not before.
//!
//! Each is written into a hidden folder beside it, which is renamed or removed as a whole (`workplace`). What a killed
//! program leaves there is removed when the next one prepares to write to the same folder.

mod exchange;
mod file;
mod known_model;
mod model;
mod workplace;

pub use file::AtomicFile;
pub use model::ModelOutput;

pub(crate) use file::{numbered, prepare_folder, unused_path};

use crate::AppError;
use std::fmt::Display;
use std::path::Path;

/// Maximum number of links that are followed.
const MAX_LINKS: usize = 40;
/// Why [`is_open_file`] is refused.
const OPEN_FILE: &str = "is a file that a program has open; name a file";

/// Whether a path leads through the open files of a process, as `/dev/stdout` does: what was written there before would be
/// lost, and what is written afterwards.
fn is_open_file(path: &Path) -> bool {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Ok(folder) = parent.canonicalize() else { return false };
        if folder.starts_with("/proc") || folder.starts_with("/dev/fd") {
            return true;
        }
        match path.read_link() {
            Ok(target) => path = folder.join(target),
            Err(_) => return false,
        }
    }
    false
}

/// A path that cannot be written to, for a reason that a person can mend.
fn refused(path: &Path, reason: impl Display) -> AppError {
    AppError::BadInput(format!("{}: {reason}", path.display()))
}

/// The same, found after the work was done.
fn failed(path: &Path, reason: impl Display) -> AppError {
    AppError::RunTime(format!("{}: {reason}", path.display()))
}

/// What would have been bad input before the work, as the failure that it is after it.
pub(crate) fn after_the_work(error: AppError) -> AppError {
    match error {
        AppError::BadInput(line) => AppError::RunTime(line),
        error => error,
    }
}

/// The names in a folder, sorted.
#[cfg(test)]
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
