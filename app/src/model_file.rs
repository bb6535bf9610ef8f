//! The model that a job works with: files, folders and names, or the demo model that is built in.

use crate::error::Remedy;
use crate::hash::{self, BackgroundHash, HashSource};
use crate::{AppError, models};
use latent_diffusion::families::{ModelKind, Sources};
use latent_loader::{Access, Checkpoint, cached_snapshot};
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

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
        let part = |path: &Path, kinds: &[ModelKind]| -> Result<Checkpoint, AppError> {
            Ok(Checkpoint::open_with(&locate_kind(path, models_dir, kinds)?, access)?)
        };
        let optional = |path: &Option<PathBuf>, kinds: &[ModelKind]| {
            path.as_deref().map(|path| part(path, kinds)).transpose()
        };
        let whole = open(model.or(unet.as_deref()), models_dir, access)?;
        let ModelFile { checkpoint, name, hash } = whole;
        let (model, unet) = match (model, unet) {
            (None, Some(_)) => (None, Some(checkpoint)),
            (_, unet) => (Some(checkpoint), optional(unet, &DENOISERS)?),
        };
        let sources = Sources {
            model,
            unet,
            vae: optional(vae, &[ModelKind::Vae])?,
            text_encoders: text_encoders
                .iter()
                .map(|path| part(path, &[ModelKind::TextEncoder]))
                .collect::<Result<_, _>>()?,
            parts_from: optional(parts_from, &[ModelKind::Model])?,
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
    let path = &locate_kind(path, models_dir, &MODELS)?;
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
    locate_kind(path, models_dir, &[])
}

/// As [`locate`]: of several of that name, the one that is of these kinds.
pub(crate) fn locate_kind(
    path: &Path,
    models_dir: Option<&Path>,
    kinds: &[ModelKind],
) -> Result<PathBuf, AppError> {
    if path.exists() || !is_name(path) {
        return Ok(cached_snapshot(path).unwrap_or_else(|| path.to_owned()));
    }
    match models::lookup(path, models_dir, kinds)? {
        (Some(found), _) => Ok(found),
        // What looks like a file is not found as one.
        (None, near) if near.is_empty() && is_file_name(path) => Ok(path.to_owned()),
        (None, near) => Err(models::not_found(path, &near)),
    }
}

/// The kinds of files that an option of a job means.
pub(crate) fn kinds_of(option: &str) -> &'static [ModelKind] {
    match option {
        "model" | "refiner" | "parts-from" => &MODELS,
        "unet" => &DENOISERS,
        "vae" => &[ModelKind::Vae],
        "text-encoder" => &[ModelKind::TextEncoder],
        "taesd" => &[ModelKind::TinyVae],
        "lora" => &[ModelKind::Lora],
        "embedding" => &[ModelKind::Embedding],
        "control-net" => &CONTROLS,
        "hires-upscaler" => &[ModelKind::Upscaler],
        _ => &[],
    }
}

/// Kinds of files that steer a model by a control image.
const CONTROLS: [ModelKind; 4] =
    [ModelKind::ControlNet, ModelKind::ControlLora, ModelKind::ControlLllite, ModelKind::T2iAdapter];

/// Kinds of files that can be the model of a job.
pub(crate) const MODELS: [ModelKind; 3] = [ModelKind::Model, ModelKind::Unet, ModelKind::Transformer];

/// Kinds of files that have the part of a model that denoises, alone.
const DENOISERS: [ModelKind; 2] = [ModelKind::Unet, ModelKind::Transformer];

/// Whether it can be a name and not only a path to a file: it leads to no folder above.
pub(crate) fn is_name(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_))) && path.components().next().is_some()
}

/// Whether it has an ending of model files.
fn is_file_name(path: &Path) -> bool {
    path.extension().and_then(|ending| ending.to_str()).is_some_and(models::is_extension)
}
