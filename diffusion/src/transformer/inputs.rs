//! What the sizes of a transformer say about its inputs.

use super::{FluxConditioning, TransformerConfig};
use crate::Error;
use crate::tensor_names::network_names::NetworkKind;
use latent_loader::Weights;

impl TransformerConfig {
    /// The network of weights with canonical names, and its sizes.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing; sizes of which no network can be built.
    pub(crate) fn of_weights(weights: &Weights) -> Result<TransformerConfig, Error> {
        TransformerConfig::of(NetworkKind::of_canonical(|name| weights.contains(name)), weights)
    }

    /// Channels of the latents that it takes, with those of further images beside them.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        match self {
            TransformerConfig::Sd3(config) => config.in_channels,
            TransformerConfig::Flux(config) => config.in_channels,
            TransformerConfig::Flux2(config) => config.in_channels,
            TransformerConfig::ZImage(config) => config.in_channels,
        }
    }

    /// Whether there are weights of these sizes that were trained to see other images as further tokens: Flux.1 Kontext, which has the
    /// sizes of dev, and Flux.2.
    #[must_use]
    pub fn takes_references(&self) -> bool {
        match self {
            TransformerConfig::Flux(config) => {
                matches!(config.conditioning, FluxConditioning::Embedded { takes_guidance: true, .. })
            }
            TransformerConfig::Flux2(_) => true,
            TransformerConfig::Sd3(_) | TransformerConfig::ZImage(_) => false,
        }
    }

    /// Elements of a latent along the side of a token.
    #[must_use]
    pub fn patch(&self) -> usize {
        match self {
            TransformerConfig::Sd3(_) | TransformerConfig::Flux(_) | TransformerConfig::ZImage(_) => 2,
            // Its latents are packed already.
            TransformerConfig::Flux2(_) => 1,
        }
    }

    /// Width of the hidden states of texts.
    #[must_use]
    pub fn text_width(&self) -> usize {
        match self {
            TransformerConfig::Sd3(config) => config.text_width,
            TransformerConfig::Flux(config) => config.text_width,
            TransformerConfig::Flux2(config) => config.text_width,
            TransformerConfig::ZImage(config) => config.text_width,
        }
    }

    /// Whether the guidance scale is one of its inputs.
    pub(crate) fn takes_guidance(&self) -> bool {
        match self {
            TransformerConfig::Sd3(_) | TransformerConfig::ZImage(_) => false,
            TransformerConfig::Flux(config) => {
                matches!(config.conditioning, FluxConditioning::Embedded { takes_guidance: true, .. })
            }
            TransformerConfig::Flux2(config) => config.takes_guidance,
        }
    }

    /// The number of blocks of which it can do without some (`TransformerInputs::skipped_blocks`).
    pub(crate) fn skippable_blocks(&self) -> usize {
        match self {
            TransformerConfig::Sd3(config) => config.layers,
            TransformerConfig::Flux(_) | TransformerConfig::Flux2(_) | TransformerConfig::ZImage(_) => 0,
        }
    }

    /// Width of the pooled texts, of networks that take them.
    #[must_use]
    pub fn pooled_width(&self) -> Option<usize> {
        match self {
            TransformerConfig::Sd3(config) => Some(config.pooled_width),
            TransformerConfig::Flux(config) => match config.conditioning {
                FluxConditioning::Embedded { pooled_width, .. } => Some(pooled_width),
                FluxConditioning::Approximated(_) => None,
            },
            TransformerConfig::Flux2(_) | TransformerConfig::ZImage(_) => None,
        }
    }
}
