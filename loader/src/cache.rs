//! The Hugging Face cache: which snapshot of a model is current.
//!
//! `models--OWNER--NAME` holds `refs/main`, a file with the name of a revision, and `snapshots/REVISION`, folders of links
//! into `blobs`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Maximum length of a revision: a SHA-1 has 40 letters.
const MAX_REVISION: usize = 100;

/// The snapshot of a model's folder in the cache: that of `refs/main`, or else the newest. `None` for any
/// other folder.
///
/// ```
/// use latent_loader::cached_snapshot;
/// use std::path::Path;
///
/// assert_eq!(cached_snapshot(Path::new("models/Stable-diffusion")), None);
/// ```
#[must_use]
pub fn cached_snapshot(folder: &Path) -> Option<PathBuf> {
    let name = folder.file_name().map(std::ffi::OsStr::to_os_string);
    let name = name.or_else(|| folder.canonicalize().ok()?.file_name().map(std::ffi::OsStr::to_os_string))?;
    if !name.to_str()?.starts_with("models--") {
        return None;
    }
    let snapshots = folder.join("snapshots");
    let main = std::fs::read_to_string(folder.join("refs/main")).ok();
    let main = main.as_deref().map(str::trim).filter(|revision| is_revision(revision));
    if let Some(snapshot) = main.map(|revision| snapshots.join(revision)).filter(|path| path.is_dir()) {
        return Some(snapshot);
    }
    let made = |path: &PathBuf| path.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let entries = std::fs::read_dir(&snapshots).ok()?.flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).max_by_key(|path| (made(path), path.clone()))
}

/// Whether a name can only mean a folder right below.
fn is_revision(name: &str) -> bool {
    (1..=MAX_REVISION).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}
