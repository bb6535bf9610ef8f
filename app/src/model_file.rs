//! The model that a job works with: files, folders and names, or the demo model that is built in.

use crate::error::Remedy;
use crate::hash::{self, BackgroundHash, HashSource};
use crate::{AppError, models};
use latent_diffusion::families::Sources;
use latent_loader::{Access, Checkpoint, cached_snapshot};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A small Stable Diffusion 1.x model that draws emoji-like images of 64x64 pixels, described in `assets/MODEL_CARD.md`.
#[cfg(feature = "demo")]
use latent_demo::DEMO;

/// This program is built without the demo model.
#[cfg(not(feature = "demo"))]
static DEMO: Option<&[u8]> = None;

/// Name of the demo model in messages and in images.
const DEMO_NAME: &str = "demo";

/// An opened model, its name, and its hash on the way.
#[derive(Debug)]
#[non_exhaustive]
pub struct ModelFile {
    /// The tensors.
    pub checkpoint: Checkpoint,
    /// The file's stem.
    pub name: String,
    /// Its hash, computed in the background.
    pub hash: BackgroundHash,
}

/// Files for parts of a model. Each may be a file, a folder with a configuration, a name in the model folders, or a whole
/// model that has the part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PartFiles {
    /// The UNet, in place of the model's.
    pub unet: Option<PathBuf>,
    /// The VAE, in place of the model's.
    pub vae: Option<PathBuf>,
    /// Text encoders, in place of the model's, in any order.
    pub text_encoders: Vec<PathBuf>,
    /// Another model to take from what is still lacking.
    pub parts_from: Option<PathBuf>,
}

impl PartFiles {
    /// All parts.
    #[must_use]
    pub fn new(
        unet: Option<PathBuf>,
        vae: Option<PathBuf>,
        text_encoders: Vec<PathBuf>,
        parts_from: Option<PathBuf>,
    ) -> PartFiles {
        PartFiles { unet, vae, text_encoders, parts_from }
    }

    /// All that are given.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let single = [&self.unet, &self.vae, &self.parts_from].into_iter().flatten();
        single.chain(&self.text_encoders).map(PathBuf::as_path)
    }

    /// Opens a model (the demo model when `None`) with these parts in place of its own. A UNet without a model is one
    /// that lacks its other parts. `doubt` is given one line for each part that may not fit.
    ///
    /// # Errors
    /// A file that cannot be opened, parts that do not fit together.
    pub fn open(
        &self,
        model: Option<&Path>,
        models_dir: Option<&Path>,
        access: Access,
        doubt: &mut dyn FnMut(String),
    ) -> Result<ModelFile, AppError> {
        let PartFiles { unet, vae, text_encoders, parts_from } = self;
        let part = |path: &Path| -> Result<Checkpoint, AppError> {
            Ok(Checkpoint::open_with(&locate(path, models_dir)?, access)?)
        };
        let optional = |path: &Option<PathBuf>| path.as_deref().map(part).transpose();
        let whole = open(model.or(unet.as_deref()), models_dir, access)?;
        let ModelFile { checkpoint, name, hash } = whole;
        let (model, unet) = match (model, unet) {
            (None, Some(_)) => (None, Some(checkpoint)),
            (_, unet) => (Some(checkpoint), optional(unet)?),
        };
        let sources = Sources {
            model,
            unet,
            vae: optional(vae)?,
            text_encoders: text_encoders.iter().map(|path| part(path)).collect::<Result<_, _>>()?,
            parts_from: optional(parts_from)?,
        };
        let joined = sources.join()?;
        joined.doubts.iter().for_each(|line| doubt(line.to_string()));
        Ok(ModelFile { checkpoint: joined.checkpoint, name, hash })
    }
}

/// Opens a file or folder, or the demo model, which is neither read nor mapped.
///
/// A name that is not a file here is looked up in the usual model folders, or in `models_dir` alone.
///
/// # Errors
/// A name that is not found, a file that cannot be opened.
pub fn open(path: Option<&Path>, models_dir: Option<&Path>, access: Access) -> Result<ModelFile, AppError> {
    let Some(path) = path else {
        let demo = demo()?;
        let checkpoint = Checkpoint::from_bytes("built-in demo model", demo)?;
        return Ok(ModelFile {
            checkpoint,
            name: DEMO_NAME.to_owned(),
            hash: BackgroundHash::of(HashSource::Bytes(demo)),
        });
    };
    let path = &locate(path, models_dir)?;
    let checkpoint = Checkpoint::open_with(path, access)?;
    let name = models::stem(path);
    Ok(ModelFile { checkpoint, name, hash: BackgroundHash::of(HashSource::at(path.clone())) })
}

/// The SHA-256 of the demo model, in hexadecimal digits.
///
/// # Errors
/// A program built without the demo model.
pub fn demo_sha256() -> Result<String, AppError> {
    demo().map(hash::of_bytes)
}

/// The bytes of the demo model.
fn demo() -> Result<&'static [u8], AppError> {
    DEMO.ok_or_else(|| AppError::Refused {
        message: "this program was built without the demo model".into(),
        remedy: Remedy::NameModel,
    })
}

/// Where a model is: the path itself, what a name is found as, or the snapshot of a folder in the Hugging Face cache.
///
/// # Errors
/// Bad input: a name of no model, or of several.
pub fn locate(path: &Path, models_dir: Option<&Path>) -> Result<PathBuf, AppError> {
    if !path.exists() && is_name(path) {
        return models::find(path, models_dir);
    }
    Ok(cached_snapshot(path).unwrap_or_else(|| path.to_owned()))
}

/// Whether it is a name and not a path to a file: relative, without an extension of model files.
pub(crate) fn is_name(path: &Path) -> bool {
    const EXTENSIONS: [&str; 6] = ["safetensors", "ckpt", "pt", "pth", "bin", "gguf"];
    !path.is_absolute()
        && !path
            .extension()
            .is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}
