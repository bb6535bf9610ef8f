//! Files of ControlNets and T2I-Adapters.

use super::{ControlNet, ControlNetConfig, ControlType, T2iAdapter, T2iAdapterConfig};
use crate::families::completeness::check_component;
use crate::families::{Component, ControlNetParts, Model, SD1, SDXL};
use crate::params::Params;
use crate::tensor_names::t2i_adapter;
use crate::{Error, Setting};
use latent_loader::{Checkpoint, Weights};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Channels of an image.
const RGB: usize = 3;

/// An opened file of a ControlNet or a T2I-Adapter, found complete. Its weights are read when they are needed.
#[derive(Debug)]
pub struct ControlFile {
    weights: Weights,
    family: &'static str,
    kind: ControlKind,
}

/// What sees a control image, and its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// A ControlNet, for one kind of images or for several.
    ControlNet(ControlNetConfig),
    /// A T2I-Adapter.
    T2iAdapter(T2iAdapterConfig),
}

impl ControlFile {
    /// Reads names and shapes, of the original layout (`control_model.`) or that of diffusers, and checks that every tensor
    /// is there.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a file of something else, and what it is; [`Error::Incomplete`] for one with gaps.
    pub fn open(checkpoint: Checkpoint) -> Result<ControlFile, Error> {
        let checkpoint = Arc::new(checkpoint);
        if checkpoint.tensors().any(|tensor| t2i_adapter::is_adapter(&tensor.name)) {
            return ControlFile::open_t2i(checkpoint);
        }
        let parts = ControlNetParts::of(checkpoint)?;
        let config = ControlNetConfig::from_weights(&parts.weights, parts.heads())?;
        let (weights, family) = (parts.weights, parts.family.label);
        let load = |params: &Params<'_>| ControlNet::load(params, &config).map(drop);
        check_component(&weights, (Component::ControlNet, family), load, |_| false)?;
        Ok(ControlFile { weights, family, kind: ControlKind::ControlNet(config) })
    }

    fn open_t2i(checkpoint: Arc<Checkpoint>) -> Result<ControlFile, Error> {
        let per_level =
            t2i_adapter::blocks_per_level(checkpoint.tensors().map(|tensor| tensor.name.as_str()));
        let named = |name: &str| Some((t2i_adapter::to_canonical(name, per_level)?, name.to_owned()));
        let names: BTreeMap<_, _> = checkpoint.tensors().filter_map(|tensor| named(&tensor.name)).collect();
        let weights = Weights::renamed(checkpoint, names);
        let config = T2iAdapterConfig::from_weights(&weights)?;
        let family = if config.is_for_sdxl() { SDXL.label } else { SD1.label };
        let load = |params: &Params<'_>| T2iAdapter::load(params, &config).map(drop);
        check_component(&weights, (Component::T2iAdapter, family), load, |_| false)?;
        Ok(ControlFile { weights, family, kind: ControlKind::T2iAdapter(config) })
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

    /// What it is, and its sizes.
    #[must_use]
    pub fn kind(&self) -> &ControlKind {
        &self.kind
    }

    /// The sizes of a ControlNet.
    #[must_use]
    pub fn config(&self) -> Option<&ControlNetConfig> {
        match &self.kind {
            ControlKind::ControlNet(config) => Some(config),
            ControlKind::T2iAdapter(_) => None,
        }
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
        let Some(union) = self.config().and_then(|config| config.union.as_ref()) else { return Ok(()) };
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
        let refuse = |reason: String| Err(Error::Unsupported { file: self.label().to_owned(), reason });
        if self.family != model.family.label {
            let (own, label) = (self.family, model.family.label);
            let what = match self.kind {
                ControlKind::ControlNet(_) => "ControlNet",
                ControlKind::T2iAdapter(_) => "T2I-Adapter",
            };
            return refuse(format!("is a {what} for {own}, and the model is {label}; give one for {label}"));
        }
        let unet = model.require_unet("ControlNets for it are not supported")?;
        let config = match &self.kind {
            ControlKind::ControlNet(config) => config,
            ControlKind::T2iAdapter(config) if config.fits(unet) => return Ok(()),
            ControlKind::T2iAdapter(config) => {
                let (own, model) = (&config.channels, &unet.block_out_channels);
                return refuse(format!(
                    "is a T2I-Adapter of widths {own:?}, and the model's UNet has {model:?}"
                ));
            }
        };
        let own = &config.unet;
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
        if own.in_channels != latents || config.hint_channels[0] != RGB || config.factor() != factor {
            return refuse(format!(
                "is a ControlNet that takes {} channels of latent and {} of an image {} times as large; those of this \
                 model take {latents}, {RGB} and {factor}",
                own.in_channels,
                config.hint_channels[0],
                config.factor()
            ));
        }
        Ok(())
    }
}
