//! Files of ControlNets, and of what steers a UNet by an image as they do.

use super::config::NO_CONTROLS;
use super::{ControlLora, ControlLoraConfig, LlliteConfig};
use super::{ControlNet, ControlNetConfig, ControlType, T2iAdapter, T2iAdapterConfig};
use crate::families::completeness::check_component;
use crate::families::{Component, ControlNetParts, Model, ModelKind, Probe, SD1, SDXL};
use crate::params::Params;
use crate::tensor_names::t2i_adapter;
use crate::{Error, Setting};
use latent_loader::{Checkpoint, Weights};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Channels of an image.
const RGB: usize = 3;

/// An opened file of a ControlNet, a Control-LoRA, a ControlNet-LLLite or a T2I-Adapter, found complete as far as that can be told
/// without its model. Its weights are read when they are needed.
#[derive(Debug)]
pub struct ControlFile {
    weights: Weights,
    family: Option<&'static str>,
    kind: ControlKind,
}

/// What sees a control image, and its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// A ControlNet, for one kind of images or for several.
    ControlNet(ControlNetConfig),
    /// A ControlNet as changes of the model's UNet.
    ControlLora(ControlLoraConfig),
    /// A ControlNet-LLLite.
    Lllite(LlliteConfig),
    /// A T2I-Adapter.
    T2iAdapter(T2iAdapterConfig),
}

impl ControlKind {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            ControlKind::ControlNet(_) => "ControlNet",
            ControlKind::ControlLora(_) => "Control-LoRA",
            ControlKind::Lllite(_) => "ControlNet-LLLite",
            ControlKind::T2iAdapter(_) => "T2I-Adapter",
        }
    }
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
        let probe = Probe::of(&checkpoint);
        let family = probe.identity().family.map(|family| family.label);
        match probe.identity().kind {
            ModelKind::ControlLora => {
                let weights = ControlNetParts::weights_of(&probe);
                let kind = ControlKind::ControlLora(ControlLoraConfig::from_weights(&weights)?);
                return Ok(ControlFile { weights, family, kind });
            }
            ModelKind::ControlLllite => return ControlFile::open_lllite(&probe, family),
            _ => {}
        }
        let parts = ControlNetParts::of(&probe)?;
        let config = ControlNetConfig::from_weights(&parts.weights, parts.heads)?;
        let (weights, family) = (parts.weights, parts.family.label);
        let load = |params: &Params<'_>| ControlNet::load(params, &config).map(drop);
        check_component(&weights, (Component::ControlNet, family), load, |_| false)?;
        Ok(ControlFile { weights, family: Some(family), kind: ControlKind::ControlNet(config) })
    }

    fn open_lllite(probe: &Probe, family: Option<&'static str>) -> Result<ControlFile, Error> {
        let weights = Weights::new(probe.checkpoint().clone());
        if !LlliteConfig::is_for_unet(weights.names()) {
            let reason = "is a ControlNet-LLLite for a model with a transformer in place of the UNet, such as Anima; give one for a \
                          Stable Diffusion model"
                .to_owned();
            return Err(Error::Unsupported { file: weights.label().to_owned(), reason });
        }
        let config = LlliteConfig::from_weights(&weights)?;
        let label = family.unwrap_or("Stable Diffusion");
        check_component(
            &weights,
            (Component::Lllite, label),
            |params| config.load_layers(params),
            |_| false,
        )?;
        Ok(ControlFile { weights, family, kind: ControlKind::Lllite(config) })
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
        Ok(ControlFile { weights, family: Some(family), kind: ControlKind::T2iAdapter(config) })
    }

    /// What error messages call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.weights.label()
    }

    /// The family of models that it steers, for people, where the file shows it.
    #[must_use]
    pub fn family(&self) -> Option<&'static str> {
        self.family
    }

    /// What it is, and its sizes.
    #[must_use]
    pub fn kind(&self) -> &ControlKind {
        &self.kind
    }

    /// The sizes of a ControlNet that has all of its weights.
    #[must_use]
    pub fn config(&self) -> Option<&ControlNetConfig> {
        match &self.kind {
            ControlKind::ControlNet(config) => Some(config),
            ControlKind::ControlLora(_) | ControlKind::Lllite(_) | ControlKind::T2iAdapter(_) => None,
        }
    }

    /// Bytes of its network in memory, beside a model that it fits.
    pub(crate) fn bytes(&self, model: &Model) -> u64 {
        match &self.kind {
            ControlKind::ControlLora(config) => {
                self.control_lora(config, model).map_or(0, |changed| changed.bytes())
            }
            _ => self.weights.total_bytes(),
        }
    }

    /// A Control-LoRA and the UNet of a model.
    pub(crate) fn control_lora(
        &self,
        config: &ControlLoraConfig,
        model: &Model,
    ) -> Result<ControlLora, Error> {
        let unet = (&model.weights.scope("unet"), model.require_unet(NO_CONTROLS)?);
        ControlLora::new(&self.weights, config, unet, model.family.label)
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
        let (label, what) = (model.family.label, self.kind.name());
        // Before its family: there is none that would fit.
        let unet = model.require_unet(NO_CONTROLS)?;
        if let Some(own) = self.family.filter(|own| *own != label) {
            return self
                .refuse(format!("is a {what} for {own}, and the model is {label}; give one for {label}"));
        }
        match &self.kind {
            ControlKind::ControlNet(config) => self.check_sizes(config, model),
            ControlKind::ControlLora(config) => self.control_lora(config, model).map(drop),
            ControlKind::Lllite(config) => match config.misfit(unet) {
                None => Ok(()),
                Some(misfit) => self.refuse(format!(
                    "is a {what} for another UNet than that of this {label} model: it {misfit}; give one that was made for \
                     {label}"
                )),
            },
            ControlKind::T2iAdapter(config) if config.fits(unet) => Ok(()),
            ControlKind::T2iAdapter(config) => {
                let (own, model) = (&config.channels, &unet.block_out_channels);
                self.refuse(format!("is a {what} of widths {own:?}, and the model's UNet has {model:?}"))
            }
        }
    }

    fn refuse(&self, reason: String) -> Result<(), Error> {
        Err(Error::Unsupported { file: self.label().to_owned(), reason })
    }

    /// Whether a ControlNet is as wide as the UNet, and sees latents and images as the VAE makes them.
    fn check_sizes(&self, config: &ControlNetConfig, model: &Model) -> Result<(), Error> {
        let (own, unet) = (&config.unet, model.require_unet(NO_CONTROLS)?);
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
            return self.refuse(format!(
                "is a ControlNet for a UNet of {}, and the model's has {}",
                sizes(own),
                sizes(unet)
            ));
        }
        let (latents, factor) = (model.vae.latent_channels, model.vae.factor());
        if own.in_channels != latents || config.hint_channels[0] != RGB || config.factor() != factor {
            return self.refuse(format!(
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
