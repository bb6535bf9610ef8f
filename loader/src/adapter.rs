//! The folder in which PEFT saves an adapter: its weights, and a configuration that says how strongly they act.

use crate::Config;
use crate::LoadError;
use crate::byte_source::ByteSource;
use crate::limits::MAX_CONFIG_BYTES;
use crate::sandbox::{Links, PathSandbox};
use std::path::{Path, PathBuf};

/// Name of the configuration, also under which it is kept among the configurations of a checkpoint.
pub(crate) const CONFIG: &str = "adapter_config";
/// File name of the configuration.
pub(crate) const CONFIG_FILE: &str = "adapter_config.json";
/// Stem of the file of weights.
const STEM: &str = "adapter_model";
/// File names of the weights, the one that is taken first.
const WEIGHTS_FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// The configuration and the weights of a folder that is an adapter.
pub(crate) fn files_of(folder: &Path) -> Option<[PathBuf; 2]> {
    let config = folder.join(CONFIG_FILE);
    let weights = WEIGHTS_FILES.map(|name| folder.join(name)).into_iter().find(|path| path.is_file())?;
    config.is_file().then_some([config, weights])
}

/// The configuration beside a file of weights that has the name of an adapter's.
pub(crate) fn config_beside(weights: &Path, links: Links) -> Result<Option<Config>, LoadError> {
    let folder = match weights.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(None),
    };
    let path = folder.join(CONFIG_FILE);
    if weights.file_stem().is_none_or(|stem| stem != STEM) || !path.is_file() {
        return Ok(None);
    }
    let real = PathSandbox::new(folder, links)?.resolve(&path)?;
    let source = ByteSource::open(&real, path.display().to_string())?;
    let config = Config::parse(&source.read_small(MAX_CONFIG_BYTES)?);
    config.map(Some).map_err(|message| LoadError::BadJson { file: source.label.clone(), message })
}
