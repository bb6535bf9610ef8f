//! Where files of a folder may really be: anywhere, or inside that folder.

use crate::LoadError;
use crate::byte_source::cannot;
use std::path::{Path, PathBuf};

/// Whether links in a model's folder may lead out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// Anywhere: a person has named the folder, and put the links there or had a program do so.
    Follow,
    /// Not out of the folder, nor out of what the Hugging Face cache holds of the same model.
    Inside,
}

/// Where files of a model may really be: in its folder and, for a snapshot in a Hugging Face cache, among the blobs of
/// the same model. There, `models--OWNER--NAME/snapshots/REVISION/…` are links to `models--OWNER--NAME/blobs/…`.
#[derive(Debug)]
pub(crate) struct PathSandbox {
    folder: PathBuf,
    blobs: Option<PathBuf>,
    links: Links,
}

impl PathSandbox {
    /// The sandbox of a folder, which itself may be reached through links.
    pub(crate) fn new(folder: &Path, links: Links) -> Result<PathSandbox, LoadError> {
        let label = folder.display().to_string();
        let folder = folder.canonicalize().map_err(|error| cannot("open", folder, &label, error))?;
        // A component's folder is one level below the snapshot.
        let blobs = blobs_of(&folder).or_else(|| blobs_of(folder.parent()?));
        Ok(PathSandbox { folder, blobs, links })
    }

    /// The path that a file really has, refused where that is outside.
    pub(crate) fn resolve(&self, path: &Path) -> Result<PathBuf, LoadError> {
        let label = path.display().to_string();
        let real = path.canonicalize().map_err(|error| cannot("open", path, &label, error))?;
        let inside = self.links == Links::Follow
            || real.starts_with(&self.folder)
            || self.blobs.as_ref().is_some_and(|blobs| real.starts_with(blobs));
        if inside {
            Ok(real)
        } else {
            Err(LoadError::LinkOutside { file: label, target: real.display().to_string() })
        }
    }
}

/// The blobs beside a snapshot: `…/models--X/blobs` of `…/models--X/snapshots/REVISION`.
fn blobs_of(folder: &Path) -> Option<PathBuf> {
    let snapshots = folder.parent()?;
    let model = snapshots.parent()?;
    let is_cache =
        snapshots.file_name()? == "snapshots" && model.file_name()?.to_str()?.starts_with("models--");
    is_cache.then(|| model.join("blobs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_snapshots_of_a_cache_have_blobs() {
        let blobs = |path: &str| blobs_of(Path::new(path));
        let model = "/cache/models--a--b";
        assert_eq!(blobs("/cache/models--a--b/snapshots/123"), Some(Path::new(model).join("blobs")));
        assert_eq!(blobs("/cache/models--a--b/snapshots"), None);
        assert_eq!(blobs("/cache/other/snapshots/123"), None);
        assert_eq!(blobs("/cache/models--a--b/refs/123"), None);
        assert_eq!(blobs("/"), None);
    }
}
