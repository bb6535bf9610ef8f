//! Images that were deleted and can be brought back.

use super::{is_plain, taken};
use crate::error::ApiError;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The folder in that of the images.
const FOLDER: &str = ".trash";
/// How long deleted images are kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Moves a file into the trash; the token that brings it back.
pub(super) fn put(gallery: &Path, name: &str, path: &Path) -> Result<String, ApiError> {
    let failed = |error| ApiError::io(name, &error);
    let folder = gallery.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let token = format!("{time}-{name}");
    std::fs::rename(path, folder.join(&token)).map_err(failed)?;
    Ok(token)
}

/// Moves a file back; its name.
pub(super) fn take(gallery: &Path, token: &str) -> Result<String, ApiError> {
    let missing = || ApiError::not_found("there is nothing in the trash that this brings back");
    let (time, name) = token.split_once('-').ok_or_else(missing)?;
    if !is_plain(name) || time.is_empty() || !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(missing());
    }
    let (from, to) = (gallery.join(FOLDER).join(token), gallery.join(name));
    if !from.is_file() {
        return Err(missing());
    }
    if to.symlink_metadata().is_ok() {
        return Err(taken(name));
    }
    std::fs::rename(from, to).map_err(|error| ApiError::io(name, &error))?;
    Ok(name.to_owned())
}

/// Removes what was deleted long ago.
pub(super) fn empty_old(gallery: &Path) {
    for entry in std::fs::read_dir(gallery.join(FOLDER)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let time = name.to_str().and_then(|name| name.split_once('-')?.0.parse::<u64>().ok());
        let deleted = time.map(|nanoseconds| UNIX_EPOCH + Duration::from_nanos(nanoseconds));
        let is_old =
            deleted.and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age > KEPT);
        if is_old {
            // Another time, if not now.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
