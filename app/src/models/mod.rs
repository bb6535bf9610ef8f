//! Model files in the usual folders: listing them, and finding one by its name.

mod folders;
mod names;
mod tiny_vae;

pub(crate) use folders::{EXTENSIONS, files_below, is_adapter, is_extension};
pub use folders::{named, search, stem, usual_folders, without_twins};
pub(crate) use names::{NameSearch, kind_of, plain};
pub use tiny_vae::tiny_vae;

use crate::{AppError, hash};
use latent_diffusion::families::{Identity, ModelKind, ModelVariant, Probe};
use latent_diffusion::upscaler::UpscalerFile;
use latent_loader::Checkpoint;
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a person can put model files so that they are found, as the end of a sentence.
pub const ADVICE: &str = "put .safetensors or .gguf files into ~/.local/share/latent or ~/latent, or name their folder by --models-dir or \
     LATENT_MODELS; the folders of the webui, of ComfyUI and the Hugging Face cache are searched too";

/// A model file or folder that was found.
///
/// As JSON it has `name`, `path`, `bytes`, `kind`, `base`, `variant`, `problem`, `sha256` and `short_hash`; what is not
/// known is null.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelEntry {
    /// The file or folder.
    pub path: PathBuf,
    /// Bytes of all its files.
    pub bytes: u64,
    /// What it is, or one line that says why it cannot be opened.
    pub identity: Result<Identity, String>,
    /// The sizes of an upscaler, for people.
    pub upscaler: Option<String>,
    /// The SHA-256 of a single file in hexadecimal digits, once [`ModelEntry::compute_hash`] has computed it.
    pub sha256: Option<String>,
}

impl ModelEntry {
    /// Looks at the header of a file or folder. One that cannot be opened is an entry too.
    #[must_use]
    pub fn open(path: PathBuf) -> ModelEntry {
        match Checkpoint::open(&path) {
            Ok(checkpoint) => {
                let (bytes, probe) = (checkpoint.file_bytes(), Probe::of(&Arc::new(checkpoint)));
                let identity = probe.identity().clone();
                let is_upscaler = identity.kind == ModelKind::Upscaler;
                let upscaler = is_upscaler.then(|| UpscalerFile::of(&probe)).and_then(Result::ok);
                let upscaler = upscaler.map(|file| file.config().to_string());
                ModelEntry { path, bytes, identity: Ok(identity), upscaler, sha256: None }
            }
            Err(error) => {
                let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
                ModelEntry { path, bytes, identity: Err(error.to_string()), upscaler: None, sha256: None }
            }
        }
    }

    /// The name by which [`find`] finds it.
    #[must_use]
    pub fn name(&self) -> String {
        stem(&self.path)
    }

    /// What kind of file it is, for people; "cannot be opened" for a damaged one.
    #[must_use]
    pub fn kind_label(&self) -> &'static str {
        self.identity.as_ref().map_or("cannot be opened", |identity| identity.kind.label())
    }

    /// Its family, the sizes of an upscaler, or why it cannot be opened.
    #[must_use]
    pub fn description(&self) -> String {
        match &self.identity {
            Ok(identity) => self
                .upscaler
                .clone()
                .or(identity.family_label())
                .unwrap_or_else(|| "family unknown".to_owned()),
            Err(error) => error.clone(),
        }
    }

    /// The webui's short form of the hash.
    #[must_use]
    pub fn short_hash(&self) -> Option<&str> {
        self.sha256.as_deref().map(hash::short)
    }

    /// Reads the whole file and computes its SHA-256. A folder has none, nor has a file that cannot be read any more.
    pub fn compute_hash(&mut self) {
        self.sha256 = self.path.is_file().then(|| hash::sha256(&self.path).ok()).flatten();
    }

    /// Order of a list: by kind, family and path; damaged files last.
    fn key(&self) -> (usize, String, &Path) {
        let kinds = ModelKind::ALL;
        let place = |kind: ModelKind| kinds.iter().position(|known| *known == kind).unwrap_or(kinds.len());
        let kind = self.identity.as_ref().map_or(usize::MAX, |identity| place(identity.kind));
        (kind, self.description(), &self.path)
    }
}

impl Serialize for ModelEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct ModelEntryJson<'a> {
            name: String,
            path: String,
            bytes: u64,
            kind: Option<&'a str>,
            base: Option<&'a str>,
            variant: Option<&'a str>,
            problem: Option<&'a str>,
            sha256: Option<&'a str>,
            short_hash: Option<&'a str>,
        }
        let identity = self.identity.as_ref().ok();
        let json = ModelEntryJson {
            name: self.name(),
            path: self.path.display().to_string(),
            bytes: self.bytes,
            kind: identity.map(|identity| identity.kind.id()),
            base: identity.and_then(|identity| identity.family).map(|family| family.id),
            variant: identity.and_then(|identity| identity.variant).map(ModelVariant::name),
            problem: self.identity.as_ref().err().map(String::as_str),
            sha256: self.sha256.as_deref(),
            short_hash: self.short_hash(),
        };
        json.serialize(serializer)
    }
}

/// The models in a folder, or without one in the usual folders, by kind, family and path; damaged files last.
///
/// # Errors
/// Bad input, if `models_dir` is not a folder.
pub fn list(models_dir: Option<&Path>) -> Result<Vec<ModelEntry>, AppError> {
    if let Some(folder) = models_dir.filter(|folder| !folder.is_dir()) {
        return Err(AppError::BadInput(format!("{}: no such folder of models", folder.display())));
    }
    let mut entries: Vec<ModelEntry> = search(models_dir).into_iter().map(ModelEntry::open).collect();
    entries.sort_by(|a, b| a.key().cmp(&b.key()));
    Ok(entries)
}

/// The file or folder of a name, with or without its ending and the folders that it is in, in a folder or in the usual ones.
///
/// # Errors
/// Bad input, if there is none, or more than one.
pub fn find(name: &Path, models_dir: Option<&Path>) -> Result<PathBuf, AppError> {
    match lookup(name, models_dir, &[])? {
        (Some(path), _) => Ok(path),
        (None, near) => Err(not_found(name, &near)),
    }
}

/// As [`find`]: of several, the one that is of these kinds. Where there is none, the names that are like it, as the end of a
/// sentence.
///
/// # Errors
/// Bad input: more than one.
pub(crate) fn lookup(
    name: &Path,
    models_dir: Option<&Path>,
    kinds: &[ModelKind],
) -> Result<(Option<PathBuf>, String), AppError> {
    let wanted = name.to_string_lossy().replace('\\', "/");
    let found: Vec<PathBuf> = search(models_dir).into_iter().collect();
    let search = NameSearch { label: &wanted, name: &wanted, what: "models", kinds, is_strict: false };
    Ok(match search.among(&found)? {
        Some(path) => (Some(path), String::new()),
        None => (None, search.near(&found)),
    })
}

/// The error of a name that nothing has.
pub(crate) fn not_found(name: &Path, near: &str) -> AppError {
    AppError::BadInput(format!("{}: no such file, and no model of that name{near}; {ADVICE}", name.display()))
}
