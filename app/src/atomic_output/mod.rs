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
