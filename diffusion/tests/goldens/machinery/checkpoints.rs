//! The synthetic checkpoints of the cases: each is written once a run, when a case first asks for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use latent_benches::{Manifest, synth};
use serde_json::{Value, json};

use super::case::CheckpointKey;
use super::folder::reference;

/// Families with the tensors of another one, and the tensors that mark them.
const MARKS: [(&str, &[&str]); 2] =
    [("playground", &["edm_mean", "edm_std"]), ("cosxl", &["edm_vpred.sigma_max"])];

/// Checkpoints on disk, by what they hold.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    written: RefCell<BTreeMap<CheckpointKey, PathBuf>>,
}

impl Checkpoints {
    /// Checkpoints in a folder of their own, under cargo's folder for test files.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("goldens-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        Self { folder, written: RefCell::default() }
    }

    /// Whether the checkpoint can be made: its manifest is there.
    pub(crate) fn check(&self, key: &CheckpointKey) -> Result<(), String> {
        let path = manifest_path(key);
        if path.is_file() {
            return Ok(());
        }
        Err(format!("checkpoint {} {}: there is no manifest {}", key.family, key.scale, path.display()))
    }

    /// The single-file checkpoint, written if it is not there yet.
    pub(crate) fn path(&self, key: &CheckpointKey) -> Result<PathBuf, String> {
        if let Some(path) = self.written.borrow().get(key) {
            return Ok(path.clone());
        }
        let manifest = manifest_path(key);
        let json = fs::read_to_string(&manifest)
            .map_err(|e| format!("cannot read the manifest {}: {e}", manifest.display()))?;
        let json = with_marks(&json, &key.family)?;
        let manifest = Manifest::parse(&json).map_err(|e| e.to_string())?;
        let dtype = synth::parse_dtype(&key.dtype).map_err(|e| e.to_string())?;
        let name = format!("{}-{}-{}-{}.safetensors", key.family, key.scale, key.seed, key.dtype);
        let path = self.folder.join(name);
        synth::write_checkpoint(&manifest, key.seed, dtype, &path)
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        self.written.borrow_mut().insert(key.clone(), path.clone());
        Ok(path)
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        // Left-over files only take space, and there may be none.
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// A manifest with the empty tensors that mark a family whose other tensors are those of another one.
fn with_marks(json: &str, family: &str) -> Result<String, String> {
    let Some((_, marks)) = MARKS.iter().find(|(marked, _)| *marked == family) else {
        return Ok(json.to_owned());
    };
    let mut manifest: Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
    let files = manifest["files"].as_object_mut().and_then(|files| files.values_mut().next());
    let tensors = files.and_then(Value::as_array_mut).ok_or("the manifest has no file")?;
    tensors.extend(
        marks.iter().map(|name| json!({ "name": name, "dtype": "F32", "shape": [0], "fixed": "f32:0" })),
    );
    tensors.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    Ok(manifest.to_string())
}

/// The manifest of the single-file layout. The turbo model and those of EDM have the tensors of the base model.
fn manifest_path(key: &CheckpointKey) -> PathBuf {
    let is_xl = ["sdxl-turbo", "playground", "cosxl"].contains(&key.family.as_str());
    let family = if is_xl { "sdxl" } else { &key.family };
    let name = format!("{family}-{}-single.json", key.scale);
    let path = reference().join("transformer_manifests").join(&name);
    if path.is_file() { path } else { reference().join("manifests").join(name) }
}
