//! The sizes of a VAE, read from the shapes of its tensors.

use crate::Error;
use latent_loader::Weights;

/// Sizes of an `AutoencoderKL`. Shapes do not tell the scale of the latents: that is the family's.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Channels of each level, finest first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of a level of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Latents of unit variance are those of the VAE times this.
    pub scaling_factor: f32,
}

impl VaeConfig {
    /// Reads the sizes from tensors named as diffusers names them.
    ///
    /// # Errors
    /// A tensor that tells a size is missing.
    pub fn from_weights(weights: &Weights, scaling_factor: f32) -> Result<VaeConfig, Error> {
        // The decoder tells all: the encoder is not needed to draw from words.
        let count =
            |exists: &dyn Fn(usize) -> String| (0..).take_while(|i| weights.contains(&exists(*i))).count();
        let levels = count(&|i| format!("decoder.up_blocks.{i}.resnets.0.conv1.weight"));
        let layers = count(&|j| format!("decoder.up_blocks.0.resnets.{j}.conv1.weight"));
        let channels = |i| weights.dim(&format!("decoder.up_blocks.{i}.resnets.0.conv1.weight"), 0);
        let config = VaeConfig {
            block_out_channels: (0..levels).rev().map(channels).collect::<Result<_, _>>()?,
            layers_per_block: layers.saturating_sub(1),
            latent_channels: weights.dim("decoder.conv_in.weight", 1)?,
            scaling_factor,
        };
        if config.block_out_channels.is_empty() || config.block_out_channels.contains(&0) {
            return Err(Error::Unsupported {
                file: weights.label().to_owned(),
                reason: format!("a VAE of widths {:?} cannot be built", config.block_out_channels),
            });
        }
        Ok(config)
    }

    /// Pixels along the side of one element of a latent.
    #[must_use]
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}
