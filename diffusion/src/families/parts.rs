//! The parts that are alike in every family: UNet and VAE.

use super::{Family, names};
use crate::Error;
use crate::unet::UNetConfig;
use crate::vae::VaeConfig;
use latent_loader::{Checkpoint, Layout, Weights};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Prefixes of the parts in an original single file.
const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";

/// UNet and VAE of a checkpoint: also of one whose family cannot draw yet.
pub struct Parts {
    /// Its family.
    pub family: &'static Family,
    /// Sizes of the UNet.
    pub unet: UNetConfig,
    /// Sizes of the VAE.
    pub vae: VaeConfig,
    /// Their weights by canonical names: `unet.`, `vae.`
    pub weights: Weights,
}

impl Parts {
    /// Recognises a checkpoint and reads the sizes of both parts. No weight is read.
    ///
    /// # Errors
    /// A file that is no model, or that lacks a part.
    pub fn detect(checkpoint: &Arc<Checkpoint>) -> Result<Parts, Error> {
        let family = Family::of(checkpoint)?;
        let weights = Weights::renamed(checkpoint.clone(), canonical_names(checkpoint));
        Parts::of(family, weights)
    }

    /// The parts among weights of canonical names.
    pub(super) fn of(family: &'static Family, weights: Weights) -> Result<Parts, Error> {
        if !weights.contains("vae.decoder.conv_in.weight") {
            return Err(Error::MissingComponent { file: weights.label().to_owned(), component: "VAE" });
        }
        Ok(Parts {
            family,
            unet: UNetConfig::from_weights(&weights.scope("unet"), family.heads)?,
            vae: VaeConfig::from_weights(&weights.scope("vae"), family.vae_scale)?,
            weights,
        })
    }
}

/// Canonical name of every tensor of UNet and VAE, and its name in the file.
pub(super) fn canonical_names(checkpoint: &Checkpoint) -> BTreeMap<String, String> {
    let canonical: &dyn Fn(&str) -> Option<String> = match checkpoint.layout() {
        Layout::SingleFile => &single_file(checkpoint),
        Layout::DiffusersFolder => &folder,
    };
    let names = checkpoint.tensors().map(|tensor| &tensor.name);
    names.filter_map(|name| Some((canonical(name)?, name.clone()))).collect()
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
