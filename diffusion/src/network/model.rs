//! Which network a model has: all that a pipeline needs to know about it before it is loaded.

use super::DiffusionNetwork;
use crate::Error;
use crate::families::{Component, DenoiserNetwork, Model, NetworkInput, TextUse};
use crate::latents::LatentShape;
use crate::params::Params;
use crate::schedule::{FlowMatching, NoiseModel};
use crate::setting::Setting;
use crate::stage::LoadedNetwork;
use crate::text::{LanguageModelRole, TextLayout};
use crate::transformer::TransformerConfig;
use crate::unet::{UNet, UNetConfig};
use crate::vae::VaeConfig;
use latent_loader::Weights;
use std::sync::Arc;

/// Where the weights of a UNet are, below those of the model.
const UNET: &str = "unet";
/// Where those of a diffusion transformer are.
const TRANSFORMER: &str = "transformer";
/// Tokens of a text that an estimate of memory counts on.
const TEXT_TOKENS: usize = 512;

/// Sizes of a denoiser network.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NetworkConfig {
    /// Those of a UNet.
    UNet(UNetConfig),
    /// Those of a diffusion transformer.
    Transformer(TransformerConfig),
}

impl NetworkConfig {
    /// Reads the sizes of a model's network from the shapes of its weights.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing, or sizes of which no network can be built.
    pub(crate) fn from_weights(weights: &Weights, network: DenoiserNetwork) -> Result<NetworkConfig, Error> {
        Ok(match network {
            DenoiserNetwork::UNet { heads } => {
                NetworkConfig::UNet(UNetConfig::from_weights(&weights.scope(UNET), heads)?)
            }
            DenoiserNetwork::Transformer => {
                let config = TransformerConfig::of_weights(&weights.scope(TRANSFORMER))?;
                NetworkConfig::Transformer(config)
            }
        })
    }

    /// Where its weights are, below those of the model.
    #[must_use]
    pub fn scope(&self) -> &'static str {
        match self {
            NetworkConfig::UNet(_) => UNET,
            NetworkConfig::Transformer(_) => TRANSFORMER,
        }
    }

    /// Channels of its input.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        match self {
            NetworkConfig::UNet(unet) => unet.in_channels,
            NetworkConfig::Transformer(config) => config.in_channels(),
        }
    }

    /// The sizes of a UNet, if it is one.
    #[must_use]
    pub fn unet(&self) -> Option<&UNetConfig> {
        match self {
            NetworkConfig::UNet(unet) => Some(unet),
            NetworkConfig::Transformer(_) => None,
        }
    }

    /// Bytes of the activations that sampling takes, estimated, for latents of this width and height and that many of them
    /// at once.
    #[must_use]
    pub fn sampling_bytes(&self, latent: (usize, usize), batch: usize) -> u64 {
        match self {
            NetworkConfig::UNet(unet) => unet.sampling_bytes(latent, batch),
            NetworkConfig::Transformer(config) => config.sampling_bytes(latent, TEXT_TOKENS, batch),
        }
    }

    /// Pixels of an image that are one token of the network, whose number a shift may depend on.
    fn pixels_per_token(&self, vae: &VaeConfig) -> usize {
        match self {
            NetworkConfig::UNet(_) => vae.factor() * vae.factor(),
            NetworkConfig::Transformer(config) => (config.patch() * vae.factor()).pow(2),
        }
    }

    /// Elements of a latent that a side must be a multiple of.
    pub(crate) fn patch(&self) -> usize {
        match self {
            NetworkConfig::UNet(_) => 1,
            NetworkConfig::Transformer(config) => config.patch(),
        }
    }

    /// Whether the guidance scale is one of its inputs.
    pub(crate) fn takes_guidance(&self) -> bool {
        match self {
            NetworkConfig::UNet(unet) => unet.time_cond_proj_dim.is_some(),
            NetworkConfig::Transformer(config) => config.takes_guidance(),
        }
    }

    /// The number of blocks of which it can do without some.
    pub(crate) fn skippable_blocks(&self) -> usize {
        match self {
            NetworkConfig::UNet(_) => 0,
            NetworkConfig::Transformer(config) => config.skippable_blocks(),
        }
    }

    /// Whether it was trained to see other images as further tokens: Flux.1 Kontext, which has the tensors of dev.
    pub(crate) fn takes_references(&self) -> bool {
        match self {
            NetworkConfig::UNet(_) => false,
            NetworkConfig::Transformer(config) => config.takes_references(),
        }
    }

    /// What it is called among the parts of a model.
    pub(crate) fn component(&self) -> Component {
        match self {
            NetworkConfig::UNet(_) => Component::UNet,
            NetworkConfig::Transformer(_) => Component::Transformer,
        }
    }

    /// How it reads the hidden states of text encoders that a family uses in this way.
    pub(crate) fn text_layout(&self, text_use: TextUse, language: Option<LanguageModelRole>) -> TextLayout {
        match (self, text_use) {
            (NetworkConfig::Transformer(config), TextUse::AnyInSequence) => TextLayout::Sequence {
                width: config.text_width(),
                pooled: config.pooled_width().unwrap_or(0),
                tokens: match language {
                    Some(LanguageModelRole::T5 { tokens, .. }) => tokens,
                    Some(LanguageModelRole::Qwen3(_)) | None => 0,
                },
            },
            (NetworkConfig::Transformer(config), TextUse::SideBySide | TextUse::Language) => {
                TextLayout::Language { width: config.text_width() }
            }
            (NetworkConfig::UNet(_), _) => TextLayout::SideBySide,
        }
    }

    /// Loads the network.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub(crate) fn load(&self, params: &Params<'_>) -> Result<Arc<dyn DiffusionNetwork>, Error> {
        Ok(match self {
            NetworkConfig::UNet(unet) => Arc::new(UNet::load(&params.streaming_on_gpus(), unet)?),
            NetworkConfig::Transformer(config) => config.load_network(params)?,
        })
    }
}

impl Model {
    /// How it was trained to see noise, and what it predicts, for images of the size and with the steps that it draws with when none are
    /// asked for.
    #[must_use]
    pub fn noise_model(&self) -> NoiseModel {
        let steps = self.recommended().steps;
        self.noise_model_at((self.resolution, steps), None).expect("the shifts of families are above 0")
    }

    /// The same for images of a width and height in pixels and that many steps, and with another shift of flow matching than the
    /// model's own.
    ///
    /// # Errors
    /// A shift that is not above 0 and finite.
    pub(crate) fn noise_model_at(
        &self,
        ((width, height), steps): ((usize, usize), usize),
        shift: Option<f64>,
    ) -> Result<NoiseModel, Error> {
        if let Some(own) = self.family.flow {
            let tokens = width * height / self.network.pixels_per_token(&self.vae);
            let flow = FlowMatching::new(shift.unwrap_or_else(|| own.shift.at(tokens, steps)));
            return Ok(NoiseModel::FlowMatching(
                flow.map_err(|error| Error::setting(Setting::Shift, error))?,
            ));
        }
        Ok(match &self.edm {
            Some(training) => NoiseModel::Edm { training: training.clone(), prediction: self.prediction },
            None => NoiseModel::VariancePreserving {
                training: self.training.clone(),
                prediction: self.prediction,
            },
        })
    }

    /// The weights of the network that it is sampled with, and what that network is called.
    pub(crate) fn network_weights(&self) -> (LoadedNetwork, Weights) {
        let network = match self.network {
            NetworkConfig::UNet(_) => LoadedNetwork::UNet,
            NetworkConfig::Transformer(_) => LoadedNetwork::Transformer,
        };
        (network, self.weights.scope(self.network.scope()))
    }

    /// Whether it is conditioned on the size of the image (SDXL).
    pub(crate) fn takes_sizes(&self) -> bool {
        self.network.unet().is_some_and(|unet| unet.added_dim.is_some())
    }

    /// The sizes of its UNet, for what is made for UNets alone.
    ///
    /// # Errors
    /// [`Error::Unsupported`]: another network, which this `addition` does not fit.
    pub(crate) fn require_unet(&self, addition: &str) -> Result<&UNetConfig, Error> {
        self.network.unet().ok_or_else(|| Error::Unsupported {
            file: self.weights.label().to_owned(),
            reason: format!("is a {} model, which has no UNet; {addition}", self.family.label),
        })
    }

    /// What the sides of its images, in pixels, are multiples of.
    #[must_use]
    pub fn size_multiple(&self) -> usize {
        self.vae.factor() * self.network.patch()
    }

    /// Whether it follows instructions about an image ([`Task::Edit`](crate::Task::Edit)): InstructPix2Pix, Flux.1 Kontext.
    #[must_use]
    pub fn follows_instructions(&self) -> bool {
        self.input == NetworkInput::Edit || self.refers_to_images()
    }

    /// Whether it sees the image of an instruction as further tokens (Flux.1 Kontext), so that no scale says how closely to keep to it.
    #[must_use]
    pub fn refers_to_images(&self) -> bool {
        self.input == NetworkInput::Latent && self.network.takes_references()
    }

    /// Whether diffusers draws the latents of an image from the distribution that the VAE gives, and does not take the most likely
    /// ones, as for Flux.2.
    pub(crate) fn draws_image_latents(&self) -> bool {
        self.vae.packing == 1
    }

    /// Bytes that the network works on for latents of this shape, estimated.
    pub(crate) fn activation_bytes(&self, latents: LatentShape) -> u64 {
        let LatentShape { images, height, width, .. } = latents;
        self.network.sampling_bytes((width, height), images)
    }
}
