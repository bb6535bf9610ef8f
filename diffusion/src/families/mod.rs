//! The kinds of model, told apart by names and shapes of tensors alone.
//!
//! A family is a folder here and one line in [`ALL`]. Everything above works with the [`Model`] that a family builds
//! and does not ask which family it was.

mod anatomy;
mod beside;
mod check;
mod contents;
mod control;
mod defaults;
mod drawing;
mod facts;
mod identity;
mod input;
mod names;
pub(crate) mod originals;
mod others;
mod parts;
mod places;
mod prediction;
mod published;
mod sd1;
mod sources;
mod text;

pub use crate::checklist::Misshaped;
pub use anatomy::Base;
pub(crate) use beside::Beside;
pub use check::PartCheck;
pub(crate) use control::ControlParts;
pub use defaults::Defaults;
pub use facts::{Component, Facts};
pub(crate) use identity::FILE_NAME;
pub use identity::{Identity, ModelKind};
pub use input::Input;
pub use parts::Parts;
pub use prediction::DetectedPrediction;
pub use published::{PUBLISHED, Published, Sizes};
pub use sources::{Joined, Sources};

use crate::Error;
use crate::preview::LatentRgb;
use crate::samplers::Prediction;
use crate::schedule::{Training, ZERO_SNR_DIFFUSERS};
use crate::text::TextPart;
use crate::unet::{Heads, UNetConfig};
use crate::vae::VaeConfig;
use latent_loader::{Checkpoint, Weights};
use std::sync::Arc;

/// Latents of the VAE of SD 1.x and SD 2.x times this have unit variance.
const VAE_SCALE: f32 = 0.18215;
/// Channels of the latents of every family.
const LATENT_CHANNELS: usize = 4;

/// Reads the sizes and names of a checkpoint of a family.
type Build = fn(&Arc<Checkpoint>) -> Result<Model, Error>;

/// A kind of model.
pub struct Family {
    /// Short name, as a program writes it.
    pub id: &'static str,
    /// Name, as a person writes it.
    pub label: &'static str,
    /// Side in pixels of the square images that it was trained on.
    pub resolution: usize,
    /// Heads of the UNet's attentions, which shapes do not tell.
    heads: Heads,
    /// Latents of the VAE times this have unit variance.
    vae_scale: f32,
    /// What its latents look like, roughly.
    pub latent_rgb: LatentRgb,
    /// Its text encoders.
    text: &'static [text::Role],
    /// Whether these facts are this family's.
    matches: fn(&Facts<'_>) -> bool,
    /// Reads sizes and names.
    build: Build,
}

/// Every family, the more special before the more general.
pub static ALL: &[&Family] = &[
    &sd1::FAMILY, //
    &others::SD2,
    &others::SDXL,
    &others::SDXL_REFINER,
];

impl Family {
    /// The family of a checkpoint, from names and shapes.
    #[must_use]
    pub fn detect(facts: &Facts<'_>) -> Option<&'static Family> {
        if facts.is_foreign() {
            return None;
        }
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
    /// Width and height of its images when none is asked for.
    pub resolution: (usize, usize),
    /// Its text encoders; their states lie side by side.
    pub text: Vec<TextPart>,
    /// Sizes of the UNet.
    pub unet: UNetConfig,
    /// What the UNet takes beside the latent.
    pub input: Input,
    /// Sizes of the VAE.
    pub vae: VaeConfig,
    /// What the UNet predicts.
    pub prediction: Prediction,
    /// Whether zeros stand for a negative prompt that is not given, and not an empty prompt.
    pub zero_negative: bool,
    /// The noise schedule that it was trained with.
    pub training: Training,
    /// Whether its added vector tells an aesthetic score in place of the size to draw for (SDXL's refiner).
    pub takes_score: bool,
    /// "turbo", "lightning", "lcm" or "hyper": made for few steps.
    pub distilled: Option<&'static str>,
    /// Steps that the checkpoint's name or title tells it was made for ("4step").
    pub named_steps: Option<usize>,
    /// All weights by canonical names: `text_encoder.`, `text_encoder_2.`, `unet.`, `vae.`
    pub weights: Weights,
}

impl Model {
    /// Recognises a checkpoint and reads the sizes of its parts. No weight is read.
    ///
    /// # Errors
    /// A file that is no model, or of a variant that cannot draw, or that lacks a part.
    pub fn detect(checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
        (Family::of(checkpoint)?.build)(checkpoint)
    }

    /// A model of whole parts.
    fn of_parts(parts: Parts, checkpoint: &Checkpoint) -> Result<Model, Error> {
        let identity = Identity::of(checkpoint);
        let Parts { family, text, unet, vae, weights } = parts;
        let Some(input) = Input::of(unet.in_channels, vae.latent_channels) else {
            let (label, channels) = (family.label, unet.in_channels);
            let reason = format!(
                "is a {label} checkpoint whose UNet takes {channels} channels, which cannot draw; 4 (a latent), 9 \
                 (inpainting) and 8 (InstructPix2Pix) can"
            );
            return Err(Error::Unsupported { file: checkpoint.label().to_owned(), reason });
        };
        let side = family.resolution;
        Ok(Model {
            family,
            input,
            resolution: named_resolution(checkpoint, vae.factor()).unwrap_or((side, side)),
            text,
            unet,
            vae,
            prediction: identity.prediction.map_or(Prediction::Epsilon, |told| told.prediction),
            zero_negative: false,
            training: if identity.zero_terminal_snr {
                Training::scaled_linear().rescale_zero_terminal_snr(ZERO_SNR_DIFFUSERS)
            } else {
                Training::scaled_linear()
            },
            takes_score: false,
            distilled: identity.distilled.map(|(name, _)| name),
            named_steps: defaults::named_steps(checkpoint),
            weights,
        })
    }
}

/// Width and height that a checkpoint names: `modelspec.resolution` in its metadata ("512x768"), or the sample size
/// of the UNet's configuration times the VAE's `factor`.
fn named_resolution(checkpoint: &Checkpoint, factor: usize) -> Option<(usize, usize)> {
    let good = |side: &usize| (1..=crate::MAX_SIDE).contains(side) && side.is_multiple_of(factor);
    if let Some((width, height)) =
        identity::said(checkpoint, "modelspec.resolution").and_then(|s| s.split_once('x'))
    {
        let sides = (width.trim().parse().ok()?, height.trim().parse().ok()?);
        return Some(sides).filter(|(width, height)| good(width) && good(height));
    }
    let side = checkpoint.config("unet")?.get_u64("sample_size")?;
    let side = usize::try_from(side).ok()?.checked_mul(factor)?;
    Some((side, side)).filter(|_| good(&side))
}
