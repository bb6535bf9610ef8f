//! Files of ControlNets.

use super::{ControlNet, ControlNetConfig, ControlType};
use crate::{Error, Setting};
use crate::families::completeness::check_component;
use crate::families::{Component, ControlNetParts, Model};
use crate::params::Params;
use latent_loader::{Checkpoint, Weights};

/// Channels of an image.
const RGB: usize = 3;

/// An opened file of a ControlNet, found complete. Its weights are read when they are needed.
#[derive(Debug)]
pub struct ControlFile {
    weights: Weights,
    family: &'static str,
    config: ControlNetConfig,
}

impl ControlFile {
    /// Reads names and shapes, of the original layout (`control_model.`) or that of diffusers, and checks that every tensor
    /// is there.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a file of something else, and what it is; [`Error::Incomplete`] for one with gaps.
    pub fn open(checkpoint: Checkpoint) -> Result<ControlFile, Error> {
        let parts = ControlNetParts::of(checkpoint)?;
        let config = ControlNetConfig::from_weights(&parts.weights, parts.heads())?;
        let (weights, family) = (parts.weights, parts.family.label);
        let load = |params: &Params<'_>| ControlNet::load(params, &config).map(drop);
        check_component(&weights, (Component::ControlNet, family), load, |_| false)?;
        Ok(ControlFile { weights, family, config })
    }

    /// What error messages call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.weights.label()
    }

    /// The family of models that it steers, for people.
    #[must_use]
    pub fn family(&self) -> &'static str {
        self.family
    }

    /// Its sizes.
    #[must_use]
    pub fn config(&self) -> &ControlNetConfig {
        &self.config
    }

    /// Its weights, by the names of diffusers.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Checks that it sees a kind of image, and that a kind is given where it must be.
    ///
    /// # Errors
    /// [`Error::Setting`], with the kinds that it has.
    pub fn check_type(&self, kind: Option<ControlType>) -> Result<(), Error> {
        let Some(union) = &self.config.union else { return Ok(()) };
        let has = &ControlType::ALL[..union.types];
        let names = has.iter().map(|kind| kind.id()).collect::<Vec<_>>().join(", ");
        let (file, refuse) = (self.label(), |reason| Err(Error::setting(Setting::ControlType, reason)));
        match kind {
            None => refuse(format!("{file} is for several kinds of images; give the kind of yours: {names}")),
            Some(kind) if !has.contains(&kind) => {
                refuse(format!("{file} has not learned {}; it has learned {names}", kind.id()))
            }
            Some(_) => Ok(()),
        }
    }

    /// Checks that it was made for the UNet of a model.
    ///
    /// # Errors
    /// [`Error::Unsupported`], which names both families.
    pub fn check_fits(&self, model: &Model) -> Result<(), Error> {
        let (own, unet) = (&self.config.unet, &model.unet);
        let refuse = |reason: String| Err(Error::Unsupported { file: self.label().to_owned(), reason });
        if self.family != model.family.label {
            let (own, label) = (self.family, model.family.label);
            return refuse(format!(
                "is a ControlNet for {own}, and the model is {label}; give one for {label}"
            ));
        }
        let attends = own.cross_attention_dim != 0;
        let same = own.block_out_channels == unet.block_out_channels
            && own.layers_per_block == unet.layers_per_block
            && own.added_dim == unet.added_dim
            && (!attends || own.cross_attention_dim == unet.cross_attention_dim);
        if !same {
            let sizes = |unet: &crate::unet::UNetConfig| {
                let text = unet.cross_attention_dim;
                format!("widths {:?} and text of {text}", unet.block_out_channels)
            };
            return refuse(format!(
                "is a ControlNet for a UNet of {}, and the model's has {}",
                sizes(own),
                sizes(unet)
            ));
        }
        let (latents, factor) = (model.vae.latent_channels, model.vae.factor());
        if own.in_channels != latents || self.config.hint_channels[0] != RGB || self.config.factor() != factor
        {
            return refuse(format!(
                "is a ControlNet that takes {} channels of latent and {} of an image {} times as large; those of this \
                 model take {latents}, {RGB} and {factor}",
                own.in_channels,
                self.config.hint_channels[0],
                self.config.factor()
            ));
        }
        Ok(())
    }
}
