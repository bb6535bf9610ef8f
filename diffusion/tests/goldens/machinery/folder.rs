//! Where the goldens are: the folder in the repository, or the one that `LATENT_GOLDENS` names.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The variable that names another folder of goldens.
pub(crate) const VARIABLE: &str = "LATENT_GOLDENS";

/// A set of goldens on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    /// Holds `index.json` and the files that it names.
    pub(crate) goldens: PathBuf,
    /// The `spec.json` that the goldens were made from.
    pub(crate) spec: PathBuf,
}

/// The reference data in the repository.
pub(crate) fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

impl Folder {
    /// The folder named by the value of [`VARIABLE`], or the one in the repository where that is not set.
    ///
    /// Accepts a folder that holds `index.json`, with `spec.json` beside it or one level up, and a folder that holds
    /// `spec.json` and `goldens/index.json`.
    pub(crate) fn find(variable: Option<&OsStr>) -> Result<Self, String> {
        let (root, from) = match variable {
            Some(value) => (PathBuf::from(value), format!("{VARIABLE}={}", value.display())),
            None => (reference(), format!("{VARIABLE} is not set, and the data in the repository")),
        };
        let inside = root.join("goldens");
        let goldens = if root.join("index.json").is_file() {
            root
        } else if inside.join("index.json").is_file() {
            inside
        } else {
            return Err(format!("{from}: neither index.json nor goldens/index.json is there"));
        };
        let beside = goldens.join("spec.json");
        let above = goldens.join("..").join("spec.json");
        let spec = [beside, above].into_iter().find(|path| path.is_file());
        let spec = spec.ok_or_else(|| format!("{from}: there is no spec.json beside or above index.json"))?;
        Ok(Self { goldens, spec })
    }
}

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{} is not valid JSON: {e}", path.display()))
}
