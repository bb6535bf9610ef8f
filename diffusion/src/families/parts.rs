//! The parts of a checkpoint of any family: text encoders, UNet and VAE.

use super::contents::Contents;
use super::{Family, text};
use crate::Error;
use crate::text::TextPart;
use crate::unet::UNetConfig;
use crate::vae::VaeConfig;
use latent_loader::{Checkpoint, Weights};
use std::sync::Arc;

/// Text encoders, UNet and VAE of a checkpoint: also of one whose family cannot draw yet.
pub struct Parts {
    /// Its family.
    pub family: &'static Family,
    /// Its text encoders, as far as they are there.
    pub text: Vec<TextPart>,
    /// Sizes of the UNet.
    pub unet: UNetConfig,
    /// Sizes of the VAE.
    pub vae: VaeConfig,
    /// Their weights by canonical names: `text_encoder.`, `text_encoder_2.`, `unet.`, `vae.`
    pub weights: Weights,
}

impl Parts {
    /// Recognises a checkpoint and reads the sizes of its parts. No weight is read.
    ///
    /// # Errors
    /// A file that is no model, or that lacks a part.
    pub fn detect(checkpoint: &Arc<Checkpoint>) -> Result<Parts, Error> {
        let family = Family::of(checkpoint)?;
        let weights = Weights::renamed(checkpoint.clone(), Contents::of(checkpoint).names());
        if !weights.contains("vae.decoder.conv_in.weight") {
            return Err(missing(checkpoint, family, &weights));
        }
        Ok(Parts {
            family,
            text: text::parts(family.text, &weights)?,
            unet: UNetConfig::from_weights(&weights.scope("unet"), family.heads)?,
            vae: VaeConfig::from_weights(
                &weights.scope("vae"),
                named_scale(checkpoint).unwrap_or(family.vae_scale),
            )?,
            weights,
        })
    }

    /// Refuses a checkpoint that lacks a text encoder of its family. Layers that are never used are left out (SD 2.x: the
    /// last), so that they are not read either.
    pub(super) fn with_text(mut self) -> Result<Parts, Error> {
        if self.text.len() == self.family.text.len() {
            self.text.iter_mut().for_each(TextPart::leave_out_unused);
            return Ok(self);
        }
        let label = self.weights.label().to_owned();
        Err(Error::MissingComponent { file: label, components: lacking(self.family, &self.weights) })
    }
}

fn missing(checkpoint: &Checkpoint, family: &Family, weights: &Weights) -> Error {
    Error::MissingComponent { file: checkpoint.label().to_owned(), components: lacking(family, weights) }
}

/// Parts that a family has and these weights lack.
pub(super) fn lacking(family: &Family, weights: &Weights) -> Vec<&'static str> {
    let mut lacking = text::lacking(family.text, weights);
    if !weights.contains("vae.decoder.conv_in.weight") {
        lacking.push("VAE");
    }
    lacking
}

/// The scale of latents that the VAE's configuration names, in a model's folder or its own.
pub(super) fn named_scale(checkpoint: &Checkpoint) -> Option<f32> {
    let scale = checkpoint.config("vae").or_else(|| checkpoint.config(""))?.get_f64("scaling_factor")?;
    (scale.is_finite() && scale > 0.0).then_some(scale as f32)
}
