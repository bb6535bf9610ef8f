//! Files that hold a diffusion transformer.

use super::{Flux, Flux2, Flux2Config, FluxConditioning, FluxConfig, Sd3, Sd3Config, ZImage, ZImageConfig};
use crate::Error;
use crate::params::Params;
use crate::tensor_names::network_names::NetworkKind;
use crate::tensor_names::transformer;
use crate::transformer::DiffusionTransformer;
use latent_loader::{Checkpoint, Weights};
use std::sync::Arc;

/// Which network it is, and its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransformerConfig {
    /// Stable Diffusion 3 and 3.5.
    Sd3(Sd3Config),
    /// Flux.1 and Chroma.
    Flux(FluxConfig),
    /// Flux.2.
    Flux2(Flux2Config),
    /// Z-Image.
    ZImage(ZImageConfig),
}

impl TransformerConfig {
    pub(super) fn of(kind: NetworkKind, weights: &Weights) -> Result<TransformerConfig, Error> {
        Ok(match kind {
            NetworkKind::Sd3 => TransformerConfig::Sd3(Sd3Config::from_weights(weights)?),
            NetworkKind::Flux => TransformerConfig::Flux(FluxConfig::from_weights(weights)?),
            NetworkKind::Flux2 => TransformerConfig::Flux2(Flux2Config::from_weights(weights)?),
            NetworkKind::ZImage => TransformerConfig::ZImage(ZImageConfig::from_weights(weights)?),
        })
    }

    /// Loads the network from weights with canonical names.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(&self, params: &Params<'_>) -> Result<Arc<dyn DiffusionTransformer>, Error> {
        Ok(match self {
            TransformerConfig::Sd3(config) => Arc::new(Sd3::load(params, config)?),
            TransformerConfig::Flux(config) => Arc::new(Flux::load(params, config)?),
            TransformerConfig::Flux2(config) => Arc::new(Flux2::load(params, config)?),
            TransformerConfig::ZImage(config) => Arc::new(ZImage::load(params, config)?),
        })
    }

    /// What the network is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            TransformerConfig::Sd3(_) => "Stable Diffusion 3",
            TransformerConfig::Flux(config) => match config.conditioning {
                FluxConditioning::Embedded { .. } => "Flux.1",
                FluxConditioning::Approximated(_) => "Chroma",
            },
            TransformerConfig::Flux2(_) => "Flux.2",
            TransformerConfig::ZImage(_) => "Z-Image",
        }
    }

    /// Bytes that an evaluation on the CPU takes besides the weights, estimated: for latents of that width and height, `batch` of
    /// them at once, with texts of so many tokens.
    #[must_use]
    pub fn sampling_bytes(&self, latents: (usize, usize), text_tokens: usize, batch: usize) -> u64 {
        match self {
            TransformerConfig::Sd3(config) => config.sampling_bytes(latents, text_tokens, batch),
            TransformerConfig::Flux(config) => config.sampling_bytes(latents, text_tokens, batch),
            TransformerConfig::Flux2(config) => config.sampling_bytes(latents, text_tokens, batch),
            TransformerConfig::ZImage(config) => config.sampling_bytes(latents, text_tokens, batch),
        }
    }
}

/// An opened file of a diffusion transformer, alone or in a whole model. Its weights are read when they are needed.
#[derive(Debug)]
pub struct TransformerFile {
    weights: Weights,
    config: TransformerConfig,
}

impl TransformerFile {
    /// Reads names and shapes, of the original layout, with a prefix or without, or of diffusers.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a file of something else, or of sizes of which no network can be built; a tensor from which a
    /// size is read is missing.
    pub fn open(checkpoint: impl Into<Arc<Checkpoint>>) -> Result<TransformerFile, Error> {
        let checkpoint = checkpoint.into();
        let Some((kind, names)) = transformer::find(checkpoint.tensors().map(|tensor| tensor.name.as_str()))
        else {
            let reason = "is not a file of a known diffusion transformer; give one of Stable Diffusion 3, Flux or \
                          Z-Image";
            return Err(Error::Unsupported {
                file: checkpoint.label().to_owned(),
                reason: reason.to_owned(),
            });
        };
        let weights = Weights::renamed(checkpoint, names).scope(transformer::SCOPE);
        let config = TransformerConfig::of(kind, &weights)?;
        Ok(TransformerFile { weights, config })
    }

    /// Which network it is, and its sizes.
    #[must_use]
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// Its weights, by canonical names.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }
}
