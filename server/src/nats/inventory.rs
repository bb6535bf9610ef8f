//! The files in this machine's folders by their SHA-256, which is what a job names them by.

use super::file_hashes::FileHashes;
use super::folder_contents::FolderContents;
use crate::error::ApiError;
use crate::models::{BUILT_IN, ModelCatalog};
use latent_app::hash::ContentHash;
use latent_app::{model_file, models};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The place of the built-in model, which has no file.
pub(super) const DEMO: &str = "demo";
/// The place of jobs whose model is in an image.
pub(super) const REPLAY: &str = "replay";
/// Digits of a hash that are in a subject.
const SUBJECT_DIGITS: usize = 16;

/// The files of a machine.
#[derive(Debug)]
pub(super) struct Inventory {
    models: Arc<ModelCatalog>,
    hashes: FileHashes,
    /// Those of the folders whose files prompts name.
    pub(super) contents: FolderContents,
    /// The hash of the built-in model, which is computed once; `None` in a program without it.
    built_in: OnceLock<Option<String>>,
}

impl Inventory {
    pub(super) fn new(models: Arc<ModelCatalog>) -> Inventory {
        let (hashes, contents) = (FileHashes::default(), FolderContents::default());
        Inventory { models, hashes, contents, built_in: OnceLock::new() }
    }

    /// The SHA-256 of a file or a model folder, which is read whole the first time.
    pub(super) fn hash(&self, path: &Path) -> Result<String, ApiError> {
        let digits = self.hashes.of(path, |path| match ContentHash::of(path)? {
            ContentHash::File(digits) => Ok(digits),
            // Never the same as that of a file.
            hash => Ok(format!("folder-{}", hash.digits())),
        });
        digits.map_err(|error| ApiError::io(&models::stem(path), &error))
    }

    fn built_in(&self) -> Option<&str> {
        self.built_in.get_or_init(|| model_file::demo_sha256().ok()).as_deref()
    }

    /// Hashes all files of the folders, those that draw first. Those that are gone are forgotten.
    pub(super) fn refresh(&self) {
        let mut files: Vec<_> =
            self.models.files().into_iter().filter_map(|(path, info)| Some((!info.draws, path?))).collect();
        files.sort();
        self.hashes.lock().retain(|path, _| files.iter().any(|(_, own)| own == path));
        for (_, path) in files {
            // One that cannot be read is not there for jobs.
            let _ = self.hash(&path);
        }
    }

    /// The file of a hash, if it was hashed by now: one of a name, as metadata have it, where there are several.
    pub(super) fn find(&self, sha256: &str, name: &str) -> Option<PathBuf> {
        let found = {
            let hashes = self.hashes.lock();
            let same = hashes.iter().filter(|(_, (_, digits))| digits == sha256).map(|(path, _)| path);
            same.min_by_key(|path| (models::stem(path) != name, (*path).clone())).cloned()
        };
        // It may have been replaced meanwhile.
        found.filter(|path| self.hash(path).is_ok_and(|digits| digits == sha256))
    }

    /// All hashes, by the names of the files.
    pub(super) fn by_name(&self) -> BTreeMap<String, String> {
        let hashes = self.hashes.lock();
        let mut names: BTreeMap<String, String> =
            hashes.iter().map(|(path, (_, digits))| (models::stem(path), digits.clone())).collect();
        names.extend(self.built_in().map(|digits| (BUILT_IN.to_owned(), digits.to_owned())));
        names
    }

    /// Places in subjects of what can be drawn with: what is in memory first.
    pub(super) fn places(&self) -> Vec<String> {
        let loaded = self.models.loaded();
        let (mut first, mut others) = (Vec::new(), Vec::new());
        let mut add = |is_loaded: bool, place: String| {
            let list = if is_loaded { &mut first } else { &mut others };
            list.push(place);
        };
        if self.built_in().is_some() {
            add(loaded.contains(Path::new("")), DEMO.into());
        }
        let hashes = self.hashes.lock();
        for (path, info) in self.models.files() {
            let Some(path) = path else { continue };
            let is_used = info.draws || matches!(info.kind.as_deref(), Some("unet" | "upscaler"));
            if let Some((_, digits)) = hashes.get(&path).filter(|_| is_used) {
                add(loaded.contains(&path), place(digits));
            }
        }
        drop(hashes);
        others.push(REPLAY.into());
        first.into_iter().chain(others).collect()
    }

    /// Names of the models in memory.
    pub(super) fn loaded(&self) -> Vec<String> {
        let name =
            |path: PathBuf| if path.as_os_str().is_empty() { BUILT_IN.into() } else { models::stem(&path) };
        let mut names: Vec<String> = self.models.loaded().into_iter().map(name).collect();
        names.sort();
        names
    }
}

/// The place of a hash in a subject.
pub(super) fn place(sha256: &str) -> String {
    let digits = sha256.strip_prefix("folder-").unwrap_or(sha256);
    digits.chars().take(SUBJECT_DIGITS).collect()
}
