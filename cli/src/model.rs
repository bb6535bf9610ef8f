//! The model that a command works with: a file, or the demo model built into the program.

use crate::hash::{self, BackgroundHash, HashSource};
use latent_app::AppError;
use latent_app::models;
pub(crate) use latent_app::models::locate;
use latent_loader::{Access, Checkpoint, CheckpointLayout};
use std::path::Path;

/// A small Stable Diffusion 1.x model that draws emoji-like images of 64x64 pixels, described in `assets/MODEL_CARD.md`.
#[cfg(feature = "demo")]
use latent_demo::DEMO;

/// This program is built without the demo model.
#[cfg(not(feature = "demo"))]
static DEMO: Option<&[u8]> = None;

/// Name of the demo model in messages and in images.
const DEMO_NAME: &str = "demo";

/// An opened model, its name, and its hash on the way.
pub(crate) struct Model {
    pub(crate) checkpoint: Checkpoint,
    /// The file's stem.
    pub(crate) name: String,
    /// None for a folder.
    pub(crate) hash: BackgroundHash,
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
        let demo = demo()?;
        let checkpoint = Checkpoint::from_bytes("built-in demo model", demo)?;
        return Ok(Model {
            checkpoint,
            name: DEMO_NAME.to_owned(),
            hash: BackgroundHash::of(HashSource::Bytes(demo)),
        });
    };
    let path = &locate(path, models_dir)?;
    let checkpoint = Checkpoint::open_with(path, access)?;
    let name = models::stem(path);
    let subject = match checkpoint.layout() {
        CheckpointLayout::SingleFile => HashSource::File(path.to_owned()),
        CheckpointLayout::DiffusersFolder | CheckpointLayout::ComponentFolder | CheckpointLayout::Joined => {
            HashSource::Nothing
        }
    };
    Ok(Model { checkpoint, name, hash: BackgroundHash::of(subject) })
}

/// The bytes of the demo model.
fn demo() -> Result<&'static [u8], AppError> {
    DEMO.ok_or_else(|| {
        let line = "this program was built without the demo model: name a model with --model FILE";
        AppError::BadInput(line.to_owned())
    })
}

/// The SHA-256 of the demo model.
pub(crate) fn demo_sha256() -> Result<String, AppError> {
    demo().map(hash::of_bytes)
}
