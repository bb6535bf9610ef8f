//! The files that an image was made with, found by their names and known by their hashes.

use super::options::ReplayOptions;
use crate::error::Remedy;
use crate::{AppError, hash, models};
use std::path::{Path, PathBuf};

/// Where files are looked for.
pub(super) struct FileSearch<'a> {
    folders: Vec<PathBuf>,
    models_dir: Option<&'a Path>,
    force: bool,
    /// One line for each file that was taken although it is another one.
    pub(super) doubts: Vec<String>,
}

impl<'a> FileSearch<'a> {
    pub(super) fn of(options: &'a ReplayOptions) -> FileSearch<'a> {
        let mut folders = options.folders.clone();
        if !options.only_folders {
            folders.push(options.file.parent().map_or_else(PathBuf::new, Path::to_owned));
            folders.push(PathBuf::new());
            folders.dedup();
        }
        FileSearch {
            folders,
            models_dir: options.models_dir.as_deref(),
            force: options.force,
            doubts: Vec::new(),
        }
    }

    /// The file or folder of that name, with this SHA-256 if one is known; `what` it is, for messages.
    pub(super) fn find(&mut self, what: &str, name: &str, sha256: Option<&str>) -> Result<PathBuf, AppError> {
        // A name that leads elsewhere is not looked for.
        let is_plain = Path::new(name).file_name().is_some_and(|plain| plain == name);
        let here =
            self.folders.iter().filter(|_| is_plain).map(|folder| folder.join(name)).filter(|p| p.exists());
        let mut found: Vec<PathBuf> = here.collect();
        if found.is_empty() || !self.force {
            found.extend(models::named(name, self.models_dir));
        }
        let Some(first) = found.first() else {
            let hash = sha256.map_or(String::new(), |hash| format!(", SHA-256 {hash}"));
            let message =
                format!("{name}: the {what} that the image was made with is not found ({what}{hash})");
            return Err(AppError::Refused { message, remedy: Remedy::SearchFolder });
        };
        let Some(wanted) = sha256 else { return Ok(first.clone()) };
        let mut others = Vec::new();
        for path in &found {
            match hash_of(path)? {
                Some(hash) if hash != wanted => others.push(hash),
                _ => return Ok(path.clone()),
            }
        }
        if self.force {
            self.doubts.push(format!("{}: is another {what} than the image was made with", first.display()));
            return Ok(first.clone());
        }
        Err(other(first, what, &others[0], wanted))
    }

    /// Refuses a file that a person named, where it is another one than the image was made with.
    pub(super) fn check(&mut self, what: &str, path: &Path, sha256: &str) -> Result<(), AppError> {
        match hash_of(path)? {
            Some(hash) if !hash.starts_with(&sha256.to_lowercase()) => {
                if self.force {
                    let line = format!("{}: is another {what} than the image was made with", path.display());
                    self.doubts.push(line);
                    return Ok(());
                }
                Err(other(path, what, &hash, sha256))
            }
            _ => Ok(()),
        }
    }
}

/// The SHA-256 of a file; a folder has none.
fn hash_of(path: &Path) -> Result<Option<String>, AppError> {
    let hash = path.is_file().then(|| hash::sha256(path)).transpose();
    hash.map_err(|error| AppError::BadInput(format!("{}: {error}", path.display())))
}

fn other(path: &Path, what: &str, hash: &str, wanted: &str) -> AppError {
    let message = format!(
        "{}: is another {what} than the image was made with: its hash is {} and not {}",
        path.display(),
        hash::short(hash),
        wanted.get(..10).unwrap_or(wanted)
    );
    AppError::Refused { message, remedy: Remedy::AcceptOtherFiles }
}
