//! The files that an image was made with, found by their names and known by their hashes.

use super::options::ReplayOptions;
use crate::error::Remedy;
use crate::hash::{self, ContentHash};
use crate::{AppError, models};
use serde_json::Value;
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

    /// The file or folder of that name, with this hash if one is known; `what` it is, for messages.
    pub(super) fn find(
        &mut self,
        what: &str,
        name: &str,
        wanted: Option<&WantedHash>,
    ) -> Result<PathBuf, AppError> {
        // A name that leads elsewhere is not looked for.
        let is_plain = Path::new(name).file_name().is_some_and(|plain| plain == name);
        let here =
            self.folders.iter().filter(|_| is_plain).map(|folder| folder.join(name)).filter(|p| p.exists());
        let mut found: Vec<PathBuf> = here.collect();
        if found.is_empty() || !self.force {
            found.extend(models::named(name, self.models_dir));
        }
        let Some(first) = found.first() else {
            let hash = wanted.map_or(String::new(), |hash| format!(", SHA-256 {}", hash.digits));
            let message =
                format!("{name}: the {what} that the image was made with is not found ({what}{hash})");
            return Err(AppError::Refused { message, remedy: Remedy::SearchFolder });
        };
        let Some(wanted) = wanted else { return Ok(first.clone()) };
        let mut others = Vec::new();
        for path in &found {
            match hash_of(path)? {
                hash if wanted.fits(&hash) => return Ok(path.clone()),
                hash => others.push(hash),
            }
        }
        self.accept(what, first, &others[0], wanted)?;
        Ok(first.clone())
    }

    /// Refuses a file that a person named, where it is another one than the image was made with.
    pub(super) fn check(&mut self, what: &str, path: &Path, wanted: &WantedHash) -> Result<(), AppError> {
        match hash_of(path)? {
            hash if wanted.fits(&hash) => Ok(()),
            hash => self.accept(what, path, &hash, wanted),
        }
    }

    /// Refuses another file, or notes it where others are accepted.
    fn accept(
        &mut self,
        what: &str,
        path: &Path,
        hash: &ContentHash,
        wanted: &WantedHash,
    ) -> Result<(), AppError> {
        if !self.force {
            return Err(other(path, what, hash, wanted));
        }
        self.doubts.push(format!("{}: is another {what} than the image was made with", path.display()));
        Ok(())
    }
}

/// A hash that metadata record, or the first digits of one.
#[derive(Clone, Debug)]
pub(super) struct WantedHash {
    /// In lower case.
    digits: String,
    is_folder: bool,
}

impl WantedHash {
    /// The hash of a file. Programs write it in either case.
    pub(super) fn of_file(digits: &str) -> WantedHash {
        WantedHash { digits: digits.trim().to_ascii_lowercase(), is_folder: false }
    }

    /// The hash of what metadata of this program describe by these two keys.
    pub(super) fn read(record: &Value, file: &str, folder: &str) -> Option<WantedHash> {
        let text = |key: &str| record.get(key).and_then(Value::as_str);
        let of_folder =
            text(folder).map(|digits| WantedHash { is_folder: true, ..WantedHash::of_file(digits) });
        text(file).map(WantedHash::of_file).or(of_folder)
    }

    pub(super) fn digits(&self) -> &str {
        &self.digits
    }

    pub(super) fn is_folder(&self) -> bool {
        self.is_folder
    }

    fn fits(&self, hash: &ContentHash) -> bool {
        let is_long = self.digits.len() >= hash::DIGITS;
        self.is_folder == hash.of_folder().is_some() && is_long && hash.digits().starts_with(&self.digits)
    }
}

/// The hash of a file or folder.
fn hash_of(path: &Path) -> Result<ContentHash, AppError> {
    ContentHash::of(path).map_err(|error| AppError::BadInput(format!("{}: {error}", path.display())))
}

fn other(path: &Path, what: &str, hash: &ContentHash, wanted: &WantedHash) -> AppError {
    let (path, own) = (path.display(), hash::short(hash.digits()));
    let recorded = hash::short(&wanted.digits);
    let difference = match (hash.of_folder().is_some(), wanted.is_folder) {
        (true, false) => format!("it is a folder, and that was a file (hash {recorded})"),
        (false, true) => format!("it is a file, and that was a folder (hash {recorded})"),
        _ => format!("its hash is {own} and not {recorded}"),
    };
    let message = format!("{path}: is another {what} than the image was made with: {difference}");
    AppError::Refused { message, remedy: Remedy::AcceptOtherFiles }
}
