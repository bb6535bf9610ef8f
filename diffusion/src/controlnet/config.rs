//! The sizes of a ControlNet, read from the shapes of its tensors.

use super::union::{ControlType, HEADS};
use crate::Error;
use crate::unet::{Heads, UNetConfig};
use latent_loader::Weights;

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

/// Sizes of the layers that only a ControlNet-Union has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnionConfig {
    /// Number of kinds: 6, and 8 of ProMax.
    pub types: usize,
    /// Channels of the attention between image and latents.
    pub width: usize,
    /// Layers of it.
    pub layers: usize,
}

impl UnionConfig {
    fn from_weights(weights: &Weights, first: usize) -> Result<Option<UnionConfig>, Error> {
        if !weights.contains("task_embedding") {
            return Ok(None);
        }
        let is_layer = |i: &usize| weights.contains(&format!("transformer_layes.{i}.mlp.fc1.weight"));
        let (types, width) = (weights.dim("task_embedding", 0)?, weights.dim("task_embedding", 1)?);
        let layers = (0..).take_while(is_layer).count();
        // The attention joins the first level's channels.
        if types == 0 || types > ControlType::ALL.len() || width != first || !width.is_multiple_of(HEADS) {
            return Err(Error::Unsupported {
                file: weights.label().to_owned(),
                reason: format!("a ControlNet-Union of {types} kinds and width {width} cannot be built"),
            });
        }
        Ok(Some(UnionConfig { types, width, layers }))
    }
}

impl ControlNetConfig {
    /// Reads the sizes from tensors named as diffusers names them.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing, or the sizes do not make a network.
    pub fn from_weights(weights: &Weights, heads: Heads) -> Result<ControlNetConfig, Error> {
        let hint = weights.scope("controlnet_cond_embedding");
        let mut hint_channels = vec![hint.dim("conv_in.weight", 1)?, hint.dim("conv_in.weight", 0)?];
        for i in 0.. {
            let Some(shape) = hint.shape(&format!("blocks.{i}.weight")) else { break };
            hint_channels.extend(shape.first());
        }
        let unet = UNetConfig::from_encoder_weights(weights, heads)?;
        let union = UnionConfig::from_weights(weights, unet.block_out_channels[0])?;
        Ok(ControlNetConfig { unet, hint_channels, union })
    }

    /// Pixels of the image along a side of an element of the latents: every other block halves it.
    #[must_use]
    pub fn factor(&self) -> usize {
        let blocks = self.hint_channels.len().saturating_sub(2);
        1usize.checked_shl((blocks / 2) as u32).unwrap_or(usize::MAX)
    }
}
