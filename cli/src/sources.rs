//! A model whose parts come from several files.

use crate::model::{self, Model};
use latent_app::AppError;
use latent_diffusion::families::Sources;
use latent_loader::{Access, Checkpoint};
use std::path::{Path, PathBuf};

/// Files for the parts of a model. Each may be a file, a folder with a configuration, or a whole model that has the part.
#[derive(Debug, clap::Args)]
pub(crate) struct SourceArgs {
    /// UNet to draw with, in place of the model's
    #[arg(long, value_name = "FILE")]
    pub(crate) unet: Option<PathBuf>,
    /// VAE to decode with, in place of the model's
    #[arg(long, value_name = "FILE")]
    pub(crate) vae: Option<PathBuf>,
    /// Text encoder, in place of the model's; SDXL has two: repeat the flag, in any order
    #[arg(long, value_name = "FILE")]
    pub(crate) text_encoder: Vec<PathBuf>,
    /// Another model to take what is still lacking from
    #[arg(long, value_name = "MODEL")]
    pub(crate) parts_from: Option<PathBuf>,
}

impl SourceArgs {
    /// All that are given.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        let single = [&self.unet, &self.vae, &self.parts_from].into_iter().flatten();
        single.chain(&self.text_encoder).map(PathBuf::as_path)
    }
}

/// Opens the model that the flags tell of. A UNet without a model is one that lacks its other parts.
pub(crate) fn open(
    model: Option<&Path>,
    args: &SourceArgs,
    models_dir: Option<&Path>,
    access: Access,
) -> Result<Model, AppError> {
    let SourceArgs { unet, vae, text_encoder, parts_from } = args;
    let part = |path: &Path| -> Result<Checkpoint, AppError> {
        Ok(Checkpoint::open_with(&model::locate(path, models_dir)?, access)?)
    };
    let optional = |path: &Option<PathBuf>| path.as_deref().map(part).transpose();
    let whole = model::open(model.or(unet.as_deref()), models_dir, access)?;
    let Model { checkpoint, name, hash } = whole;
    let (model, unet) = match (model, unet) {
        (None, Some(_)) => (None, Some(checkpoint)),
        (_, unet) => (Some(checkpoint), optional(unet)?),
    };
    let sources = Sources {
        model,
        unet,
        vae: optional(vae)?,
        text_encoders: text_encoder.iter().map(|path| part(path)).collect::<Result<_, _>>()?,
        parts_from: optional(parts_from)?,
    };
    let joined = sources.join()?;
    for doubt in &joined.doubts {
        eprintln!("latent: {doubt}");
    }
    Ok(Model { checkpoint: joined.checkpoint, name, hash })
}
