//! The model that a command works with: a file, or the demo model built into the program.

use crate::hash::{self, Hash, Subject};
use latent_app::{AppError, models};
use latent_loader::{Access, Checkpoint, Layout, cached_snapshot};
use std::path::{Path, PathBuf};

/// A small Stable Diffusion 1.x model that draws emoji-like images of 64x64; `assets/MODEL_CARD.md` tells of it.
static DEMO: &[u8] = include_bytes!("../../assets/demo.safetensors");

/// Name of the demo model in messages and in images.
const DEMO_NAME: &str = "demo";

/// An opened model, its name, and its hash on the way.
pub(crate) struct Model {
    pub(crate) checkpoint: Checkpoint,
    /// The file's stem.
    pub(crate) name: String,
    /// None for a folder.
    pub(crate) hash: Hash,
}

/// Opens a file or folder, or the demo model, which is neither read nor mapped.
///
/// A bare name that is no file here is looked for in the usual places, or in `models_dir` alone.
pub(crate) fn open(
    path: Option<&Path>,
    models_dir: Option<&Path>,
    access: Access,
) -> Result<Model, AppError> {
    let Some(path) = path else {
        let checkpoint = Checkpoint::from_bytes("built-in demo model", DEMO)?;
        return Ok(Model { checkpoint, name: DEMO_NAME.to_owned(), hash: Hash::of(Subject::Bytes(DEMO)) });
    };
    let path = &locate(path, models_dir)?;
    let checkpoint = Checkpoint::open_with(path, access)?;
    let name = models::stem(path);
    let subject = match checkpoint.layout() {
        Layout::SingleFile => Subject::File(path.to_owned()),
        Layout::DiffusersFolder | Layout::ComponentFolder | Layout::Joined => Subject::Nothing,
    };
    Ok(Model { checkpoint, name, hash: Hash::of(subject) })
}

/// The SHA-256 of the demo model.
pub(crate) fn demo_sha256() -> String {
    hash::of_bytes(DEMO)
}

/// The place of a model: the path itself, what a bare name is found as, or the snapshot of a place in the Hugging Face cache.
pub(crate) fn locate(path: &Path, models_dir: Option<&Path>) -> Result<PathBuf, AppError> {
    if !path.exists() && is_name(path) {
        return models::find(path, models_dir);
    }
    Ok(cached_snapshot(path).unwrap_or_else(|| path.to_owned()))
}

/// Whether it is no path to a file: without an ending of model files, and relative.
fn is_name(path: &Path) -> bool {
    const ENDINGS: [&str; 6] = ["safetensors", "ckpt", "pt", "pth", "bin", "gguf"];
    !path.is_absolute()
        && !path
            .extension()
            .is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}
