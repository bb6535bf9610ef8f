//! The parts of a checkpoint of any family: text encoders, UNet and VAE.

use super::{Family, names, text};
use crate::Error;
use crate::text::TextPart;
use crate::unet::UNetConfig;
use crate::vae::VaeConfig;
use latent_loader::{Checkpoint, Layout, Weights};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Prefixes of the parts in an original single file.
const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";

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
        let weights = Weights::renamed(checkpoint.clone(), canonical_names(checkpoint));
        if !weights.contains("vae.decoder.conv_in.weight") {
            return Err(Error::MissingComponent { file: weights.label().to_owned(), component: "VAE" });
        }
        Ok(Parts {
            family,
            text: text::parts(family.text, &weights, checkpoint.layout())?,
            unet: UNetConfig::from_weights(&weights.scope("unet"), family.heads)?,
            vae: VaeConfig::from_weights(&weights.scope("vae"), family.vae_scale)?,
            weights,
        })
    }

    /// Refuses a checkpoint that lacks a text encoder of its family.
    pub(super) fn with_text(self) -> Result<Parts, Error> {
        if self.text.len() == self.family.text.len() {
            return Ok(self);
        }
        Err(Error::MissingComponent { file: self.weights.label().to_owned(), component: "text encoder" })
    }
}

/// Canonical name of every tensor of the parts, and its name in the file.
fn canonical_names(checkpoint: &Checkpoint) -> BTreeMap<String, String> {
    let canonical: &dyn Fn(&str) -> Option<String> = match checkpoint.layout() {
        Layout::SingleFile => &single_file(checkpoint),
        Layout::DiffusersFolder => &folder,
    };
    let names = checkpoint.tensors().map(|tensor| &tensor.name);
    names
        .filter_map(|name| Some((canonical(name).or_else(|| text::canonical(name))?, name.clone())))
        .collect()
}

fn single_file(checkpoint: &Checkpoint) -> impl Fn(&str) -> Option<String> {
    let names = || checkpoint.tensors().map(|t| t.name.as_str());
    let first_downsampler = names().filter_map(|name| {
        name.strip_prefix(UNET)?
            .strip_prefix("input_blocks.")?
            .strip_suffix(".0.op.weight")?
            .parse::<usize>()
            .ok()
    });
    let layers = first_downsampler.min().unwrap_or(usize::MAX / 2).saturating_sub(1);
    let vae_levels = names().filter_map(|name| {
        name.strip_prefix(VAE)?.strip_prefix("decoder.up.")?.split('.').next()?.parse::<usize>().ok()
    });
    let levels = vae_levels.max().map_or(0, |level| level.saturating_add(1));
    move |name| match name.strip_prefix(UNET) {
        Some(name) => Some(format!("unet.{}", names::unet(name, layers)?)),
        None => Some(format!("vae.{}", names::vae(name.strip_prefix(VAE)?, levels)?)),
    }
}

fn folder(name: &str) -> Option<String> {
    match name.strip_prefix("vae.") {
        Some(name) => Some(format!("vae.{}", names::vae_of_folder(name))),
        None => name.starts_with("unet.").then(|| name.to_owned()),
    }
}
