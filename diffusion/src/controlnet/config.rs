//! The sizes of a ControlNet, read from the shapes of its tensors.

use super::union::UnionConfig;
use crate::Error;
use crate::unet::{Heads, UNetConfig};
use latent_loader::Weights;

/// What is said of a model without a UNet.
pub(crate) const NO_CONTROLS: &str = "ControlNets for it are not supported";

/// Sizes of a `ControlNetModel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlNetConfig {
    /// Sizes of the UNet whose encoder it is a copy of; those of the up blocks are not known.
    pub unet: UNetConfig,
    /// Channels of the image, of the first convolution that sees it, and of each one after that but the last.
    pub hint_channels: Vec<usize>,
    /// What a network for several kinds of images has besides (ControlNet-Union).
    pub union: Option<UnionConfig>,
}

impl ControlNetConfig {
    /// Reads the sizes from tensors named as diffusers names them.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing, or the sizes do not make a network.
    pub fn from_weights(weights: &Weights, heads: Heads) -> Result<ControlNetConfig, Error> {
        let hint_channels = ControlNetConfig::hint_channels_of(weights)?;
        let unet = UNetConfig::from_encoder_weights(weights, heads)?;
        let union = UnionConfig::from_weights(weights, unet.block_out_channels[0])?;
        Ok(ControlNetConfig { unet, hint_channels, union })
    }

    /// The channels of the layers that see the image, from tensors named as diffusers names them.
    pub(super) fn hint_channels_of(weights: &Weights) -> Result<Vec<usize>, Error> {
        let hint = weights.scope("controlnet_cond_embedding");
        let mut channels = vec![hint.dim("conv_in.weight", 1)?, hint.dim("conv_in.weight", 0)?];
        for i in 0.. {
            let Some(shape) = hint.shape(&format!("blocks.{i}.weight")) else { break };
            channels.extend(shape.first());
        }
        Ok(channels)
    }

    /// Pixels of the image along a side of an element of the latents: every other block halves it.
    #[must_use]
    pub fn factor(&self) -> usize {
        let blocks = self.hint_channels.len().saturating_sub(2);
        1usize.checked_shl((blocks / 2) as u32).unwrap_or(usize::MAX)
    }
}
