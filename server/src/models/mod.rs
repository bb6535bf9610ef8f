//! The model files that jobs can name: those in the folders, found again by name and never by path.

mod entry;
mod watch;

pub use entry::{MemoryAtSizes, ModelDefaults, ModelInfo, usable_verbs};
pub use watch::FolderWatch;

use crate::error::ApiError;
use entry::CatalogEntry;
use latent_app::models;
use latent_loader::Checkpoint;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Name of the model that is built in.
pub const BUILT_IN: &str = "demo";

/// A file is looked at again when its length or time changes.
pub(crate) type FileStamp = (u64, Option<SystemTime>);

#[derive(Debug, Default)]
struct Catalog {
    entries: Option<Arc<Vec<CatalogEntry>>>,
    seen: HashMap<PathBuf, (FileStamp, CatalogEntry)>,
    loaded: HashSet<PathBuf>,
}

/// The models that jobs can name.
#[derive(Debug)]
pub struct ModelCatalog {
    models_dir: Option<PathBuf>,
    /// Folders of LoRAs and textual inversions that were named besides.
    others: Vec<PathBuf>,
    catalog: Mutex<Catalog>,
}

impl ModelCatalog {
    /// The catalog of a folder, or of the usual ones, and of others besides. Nothing is read yet.
    #[must_use]
    pub fn new(models_dir: Option<PathBuf>, others: Vec<PathBuf>) -> ModelCatalog {
        ModelCatalog { models_dir, others, catalog: Mutex::new(Catalog::default()) }
    }

    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folders that are searched, whether they exist or not.
    #[must_use]
    pub fn folders(&self) -> Vec<PathBuf> {
        let main = self.models_dir.clone().map_or_else(models::usual_folders, |folder| vec![folder]);
        main.into_iter().chain(self.others.iter().cloned()).collect()
    }

    /// The folder of the models, if one was named.
    #[must_use]
    pub fn models_dir(&self) -> Option<&Path> {
        self.models_dir.as_deref()
    }

    /// Looks at the folders again with the next use.
    pub fn forget(&self) {
        self.catalog().entries = None;
    }

    /// Notes which models a device has in memory.
    pub fn set_loaded(&self, loaded: HashSet<PathBuf>) {
        self.catalog().loaded = loaded;
    }

    /// Every model, the built-in one first. This reads the headers of new files.
    fn entries(&self) -> Arc<Vec<CatalogEntry>> {
        let mut catalog = self.catalog();
        if let Some(entries) = &catalog.entries {
            return entries.clone();
        }
        let mut paths = models::search(self.models_dir.as_deref());
        for folder in &self.others {
            paths.extend(models::search(Some(folder)));
        }
        let folders = self.folders();
        let mut seen = HashMap::new();
        let mut entries: Vec<CatalogEntry> = CatalogEntry::built_in().into_iter().collect();
        for path in paths {
            let stamp = stamp(&path);
            let entry = match catalog.seen.remove(&path) {
                Some((old, entry)) if old == stamp => entry,
                _ => CatalogEntry::open(&path, &folders),
            };
            seen.insert(path, (stamp, entry.clone()));
            entries.push(entry);
        }
        entries.sort_by_key(CatalogEntry::order);
        let mut times: HashMap<String, usize> = HashMap::new();
        entries.iter().for_each(|entry| *times.entry(entry.info.name.clone()).or_default() += 1);
        // Of several of one name each is called by its place.
        for entry in entries.iter_mut().filter(|entry| entry.path.is_some() && times[&entry.info.name] > 1) {
            entry.info.name.clone_from(&entry.info.path_in_folder);
        }
        let entries = Arc::new(entries);
        catalog.seen = seen;
        catalog.entries = Some(entries.clone());
        entries
    }

    /// Every file with what is known of it, the built-in model without a path first. This reads the headers of new files.
    #[cfg(feature = "nats")]
    pub(crate) fn files(&self) -> Vec<(Option<PathBuf>, ModelInfo)> {
        self.entries().iter().map(|entry| (entry.path.clone(), entry.info.clone())).collect()
    }

    /// The models that a device has in memory. The built-in one has an empty path.
    #[cfg(feature = "nats")]
    pub(crate) fn loaded(&self) -> HashSet<PathBuf> {
        self.catalog().loaded.clone()
    }

    /// What is known of every model, the built-in one first. This reads the headers of new files.
    #[must_use]
    pub fn list(&self) -> Vec<ModelInfo> {
        let entries = self.entries();
        let loaded = self.catalog().loaded.clone();
        let info = |entry: &CatalogEntry| {
            let key = entry.path.clone().unwrap_or_default();
            ModelInfo { loaded: loaded.contains(&key), ..entry.info.clone() }
        };
        entries.iter().map(info).collect()
    }

    /// The file of a name: that of the list, or the file's name with or without its extension. `None` is the built-in model.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`](crate::error::ErrorCode::NotFound) with what could be meant, or several of that name.
    pub fn find(&self, name: &str) -> Result<Option<PathBuf>, ApiError> {
        let path = self.entry(name)?.path;
        if let Some(folder) = path.as_ref().filter(|path| path.is_dir()) {
            // A link out of it may have been made since it was listed.
            Checkpoint::open_fenced(folder).map_err(latent_app::AppError::from)?;
        }
        Ok(path)
    }

    /// What is known of the file of a name.
    ///
    /// # Errors
    /// As [`ModelCatalog::find`].
    pub fn info(&self, name: &str) -> Result<ModelInfo, ApiError> {
        let entry = self.entry(name)?;
        let loaded = self.catalog().loaded.contains(&entry.path.unwrap_or_default());
        Ok(ModelInfo { loaded, ..entry.info })
    }

    fn entry(&self, name: &str) -> Result<CatalogEntry, ApiError> {
        let entries = self.entries();
        if let Some(entry) = entries.iter().find(|entry| entry.info.name == name) {
            return Ok(entry.clone());
        }
        let named = |is_exact| -> Vec<&CatalogEntry> {
            entries.iter().filter(|entry| entry.has_name(name, is_exact)).collect()
        };
        let named = Some(named(true)).filter(|exact| !exact.is_empty()).unwrap_or_else(|| named(false));
        match named[..] {
            [entry] => Ok(entry.clone()),
            [] => {
                let about = "there is no such file in the model folders; ask for the list of models";
                Err(ApiError::bad_input(format!("{name}: {about}")))
            }
            _ => {
                let names: Vec<&str> = named.iter().map(|entry| entry.info.path_in_folder.as_str()).collect();
                let line = format!("{name}: several files have that name: {}", names.join(", "));
                Err(ApiError::bad_input(line))
            }
        }
    }
}

/// The stamp of a file.
pub(crate) fn stamp(path: &Path) -> FileStamp {
    std::fs::metadata(path).map_or((0, None), |metadata| (metadata.len(), metadata.modified().ok()))
}
