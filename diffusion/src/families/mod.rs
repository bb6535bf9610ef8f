//! The kinds of model, told apart by names and shapes of tensors alone.
//!
//! A family is a folder here and one line in [`ALL`]. Everything above works with the [`Model`] that a family builds
//! and does not ask which family it was.

mod anatomy;
mod drawing;
mod facts;
mod identity;
mod names;
mod others;
mod parts;
mod published;
mod sd1;
mod text;

pub use anatomy::Base;
pub use facts::{Component, Facts};
pub use identity::{Identity, Kind, Told};
pub use parts::Parts;
pub use published::{PUBLISHED, Published, Sizes};

use crate::Error;
use crate::samplers::Prediction;
use crate::schedule::Training;
use crate::text::TextPart;
use crate::unet::{Heads, UNetConfig};
use crate::vae::VaeConfig;
use latent_loader::{Checkpoint, Weights};
use std::sync::Arc;

/// Latents of the VAE of SD 1.x and SD 2.x times this have unit variance.
const VAE_SCALE: f32 = 0.18215;

/// Reads the sizes and names of a checkpoint of a family.
type Build = fn(&Arc<Checkpoint>) -> Result<Model, Error>;

/// A kind of model.
pub struct Family {
    /// Short name, as a program writes it.
    pub id: &'static str,
    /// Name, as a person writes it.
    pub label: &'static str,
    /// Side in pixels of the square pictures that it was trained on.
    pub resolution: usize,
    /// Heads of the UNet's attentions, which shapes do not tell.
    heads: Heads,
    /// Latents of the VAE times this have unit variance.
    vae_scale: f32,
    /// Its text encoders.
    text: &'static [text::Role],
    /// Whether these facts are this family's.
    matches: fn(&Facts<'_>) -> bool,
    /// Reads sizes and names; `None` for a family that is known by sight and cannot draw yet.
    build: Option<Build>,
}

/// Every family, the more special before the more general.
pub static ALL: &[&Family] = &[
    &sd1::FAMILY,
    &others::SD1_INPAINT,
    &others::SD1_PIX2PIX,
    &others::SD2,
    &others::SDXL,
    &others::SDXL_REFINER,
];

impl Family {
    /// Whether this build can draw with it.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        self.build.is_some()
    }

    /// The family of a checkpoint, from names and shapes.
    #[must_use]
    pub fn detect(facts: &Facts<'_>) -> Option<&'static Family> {
        ALL.iter().copied().find(|family| (family.matches)(facts))
    }

    /// The family of a checkpoint, or an error that says what the file is instead.
    fn of(checkpoint: &Checkpoint) -> Result<&'static Family, Error> {
        let facts = Facts::of(checkpoint);
        let file = || checkpoint.label().to_owned();
        Family::detect(&facts).ok_or_else(|| Error::Unsupported { file: file(), reason: facts.explain() })
    }
}

/// A checkpoint that can draw: the sizes of its parts, and where their weights are.
#[derive(Clone)]
pub struct Model {
    /// Its family.
    pub family: &'static Family,
    /// Width and height of its pictures when none is asked for.
    pub resolution: (usize, usize),
    /// Its text encoders; their states lie side by side.
    pub text: Vec<TextPart>,
    /// Sizes of the UNet.
    pub unet: UNetConfig,
    /// Sizes of the VAE.
    pub vae: VaeConfig,
    /// What the UNet predicts.
    pub prediction: Prediction,
    /// Whether zeros stand for a negative prompt that is not given, and not an empty prompt.
    pub zero_negative: bool,
    /// The noise schedule that it was trained with.
    pub training: Training,
    /// All weights by canonical names: `text_encoder.`, `text_encoder_2.`, `unet.`, `vae.`
    pub weights: Weights,
}

impl Model {
    /// Recognises a checkpoint and reads the sizes of its parts. No weight is read.
    ///
    /// # Errors
    /// A file that is no model, or of a family that cannot draw yet, or that lacks a part.
    pub fn detect(checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
        let family = Family::of(checkpoint)?;
        let Some(build) = family.build else {
            let supported: Vec<_> = ALL.iter().filter(|f| f.is_supported()).map(|f| f.label).collect();
            return Err(Error::Unsupported {
                file: checkpoint.label().to_owned(),
                reason: format!(
                    "is a {} checkpoint, which cannot draw yet; supported: {}",
                    family.label,
                    supported.join(", ")
                ),
            });
        };
        build(checkpoint)
    }

    /// A model of whole parts that predicts epsilon.
    fn of_parts(parts: Parts, checkpoint: &Checkpoint) -> Model {
        let Parts { family, text, unet, vae, weights } = parts;
        let side = family.resolution;
        Model {
            family,
            resolution: named_resolution(checkpoint, vae.factor()).unwrap_or((side, side)),
            text,
            unet,
            vae,
            prediction: Prediction::Epsilon,
            zero_negative: false,
            training: Training::scaled_linear(),
            weights,
        }
    }
}

/// Width and height that a checkpoint names: `modelspec.resolution` in its metadata ("512x768"), or the sample size
/// of the UNet's configuration times the VAE's `factor`.
fn named_resolution(checkpoint: &Checkpoint, factor: usize) -> Option<(usize, usize)> {
    let good = |side: &usize| (1..=crate::MAX_SIDE).contains(side) && side.is_multiple_of(factor);
    if let Some((width, height)) =
        checkpoint.metadata().get("modelspec.resolution").and_then(|s| s.split_once('x'))
    {
        let sides = (width.trim().parse().ok()?, height.trim().parse().ok()?);
        return Some(sides).filter(|(width, height)| good(width) && good(height));
    }
    let side = checkpoint.config("unet")?.get("sample_size")?.as_u64()?;
    let side = usize::try_from(side).ok()?.checked_mul(factor)?;
    Some((side, side)).filter(|_| good(&side))
}
