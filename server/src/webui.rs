//! What clients of the webui's API have set for their requests that follow, kept over a restart.

use crate::error::ApiError;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The settings that are kept. Names of files are those of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptSettings {
    /// The model; the server's own when `None`.
    pub model: Option<String>,
    /// The VAE; the model's own when `None`.
    pub vae: Option<String>,
    /// Text encoders in place of the model's.
    pub text_encoders: Vec<String>,
    /// Layers of the text encoder to leave out from the end, plus 1.
    pub clip_skip: Option<usize>,
    /// The random numbers: `cpu` or `cuda`.
    pub rng: Option<String>,
}

/// The settings, and where they are kept.
#[derive(Debug)]
pub struct WebuiSettings {
    path: PathBuf,
    kept: Mutex<KeptSettings>,
    /// The SHA-256 of models by name, as far as they are known: of those that were drawn with.
    hashes: Mutex<HashMap<String, String>>,
}

impl WebuiSettings {
    /// Those of a folder. A file that cannot be read is as none.
    #[must_use]
    pub fn open(folder: &Path) -> WebuiSettings {
        let path = folder.join("webui.json");
        let read = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let kept = Mutex::new(read.unwrap_or_default());
        WebuiSettings { path, kept, hashes: Mutex::default() }
    }

    /// What is set.
    #[must_use]
    pub fn get(&self) -> KeptSettings {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it. This waits for the disk.
    ///
    /// # Errors
    /// Those of the change, or a file that cannot be written. Then nothing has changed.
    pub fn change(
        &self,
        change: impl FnOnce(&mut KeptSettings) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut settings = kept.clone();
        change(&mut settings)?;
        if *kept != settings {
            self.write(&settings).map_err(|error| ApiError::io("webui.json", &error))?;
            *kept = settings;
        }
        Ok(())
    }

    fn write(&self, settings: &KeptSettings) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(settings)?)?;
        file.persist(&self.path).map(drop).map_err(|error| error.error)
    }

    /// The SHA-256 of a model, if it is known.
    #[must_use]
    pub fn sha256(&self, model: &str) -> Option<String> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).get(model).cloned()
    }

    /// The model of a SHA-256, or of its first digits.
    #[must_use]
    pub fn model_of_hash(&self, digits: &str) -> Option<String> {
        let hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        let found = hashes.iter().find(|(_, sha256)| digits.len() >= 8 && sha256.starts_with(digits));
        found.map(|(name, _)| name.clone())
    }

    /// Forgets the hashes: files may have changed.
    pub fn forget_hashes(&self) {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Notes the SHA-256 of a model.
    pub fn set_sha256(&self, model: &str, sha256: &str) {
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        hashes.insert(model.to_owned(), sha256.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let settings = WebuiSettings::open(folder.path());
        assert_eq!(settings.get(), KeptSettings::default());
        let wanted = KeptSettings { model: Some("a".into()), clip_skip: Some(2), ..KeptSettings::default() };
        let set = |settings: &mut KeptSettings| {
            settings.clone_from(&wanted);
            Ok(())
        };
        settings.change(set).unwrap();
        let refused = settings.change(|settings| {
            settings.model = None;
            Err(ApiError::bad_input("no"))
        });
        assert!(refused.is_err() && settings.get() == wanted);
        assert_eq!(WebuiSettings::open(folder.path()).get(), wanted);
        std::fs::write(folder.path().join("webui.json"), "{").unwrap();
        assert_eq!(WebuiSettings::open(folder.path()).get(), KeptSettings::default());
    }

    #[test]
    fn a_model_is_known_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let settings = WebuiSettings::open(folder.path());
        settings.set_sha256("a", "0123456789abcdef");
        assert_eq!(settings.model_of_hash("0123456789").as_deref(), Some("a"));
        assert_eq!((settings.model_of_hash("01"), settings.model_of_hash("ffffffffff")), (None, None));
    }
}
