//! Hashes of files, which are read again only when these change.

use crate::models::{FileStamp, stamp};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was hashed by now.
#[derive(Debug, Default)]
pub(super) struct FileHashes(Mutex<HashMap<PathBuf, (FileStamp, String)>>);

impl FileHashes {
    /// All of it.
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, (FileStamp, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hash of a file, for which `read` reads it unless it is known.
    pub(super) fn of(
        &self,
        path: &Path,
        read: impl FnOnce(&Path) -> std::io::Result<String>,
    ) -> std::io::Result<String> {
        let stamp = stamp(path);
        let known = self.lock().get(path).cloned();
        if let Some((_, digits)) = known.filter(|(old, _)| *old == stamp) {
            return Ok(digits);
        }
        let digits = read(path)?;
        self.lock().insert(path.to_owned(), (stamp, digits.clone()));
        Ok(digits)
    }
}
