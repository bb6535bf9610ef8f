//! The sizes of Z-Image, read from the shapes of its tensors.

use crate::Error;
use crate::transformer::sizes::{count_blocks, expect_blocks, heads, patch_channels, sampling_bytes};
use latent_loader::Weights;

/// Pixels of a patch's side.
pub(super) const PATCH: usize = 2;
/// The widths of heads are multiples of this, so that each axis of positions has an even number of channels.
const HEAD_MULTIPLE: usize = 16;

/// Sizes of a `ZImageTransformer2DModel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZImageConfig {
    /// Channels of the latents.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Width of the hidden states.
    pub width: usize,
    /// Width between the layers of an MLP.
    pub hidden: usize,
    /// Heads of every attention.
    pub heads: usize,
    /// Blocks of image and text together: 30.
    pub layers: usize,
    /// Blocks of the image alone, before: 2.
    pub noise_refiners: usize,
    /// Blocks of the text alone, before: 2.
    pub context_refiners: usize,
    /// Width of the text's hidden states: 2560.
    pub text_width: usize,
    /// Width of the embedded time step: 256.
    pub time_width: usize,
    /// Width between the layers that embed it: 1024.
    pub time_hidden: usize,
}

impl ZImageConfig {
    /// Reads the sizes from tensors with canonical names.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing; sizes of which no network can be built.
    pub fn from_weights(weights: &Weights) -> Result<ZImageConfig, Error> {
        let dim = |name: &str, axis: usize| -> Result<usize, Error> { Ok(weights.dim(name, axis)?) };
        let channels = |values| patch_channels(weights, values, PATCH * PATCH);
        let width = dim("all_x_embedder.2-1.weight", 0)?;
        let blocks = |list| count_blocks(weights, list, "attention.to_out.0.weight");
        let config = ZImageConfig {
            in_channels: channels(dim("all_x_embedder.2-1.weight", 1)?)?,
            out_channels: channels(dim("all_final_layer.2-1.linear.weight", 0)?)?,
            width,
            hidden: dim("layers.0.feed_forward.w1.weight", 0)?,
            heads: heads(weights, width, dim("layers.0.attention.norm_q.weight", 0)?, HEAD_MULTIPLE)?,
            layers: blocks("layers"),
            noise_refiners: blocks("noise_refiner"),
            context_refiners: blocks("context_refiner"),
            text_width: dim("cap_embedder.1.weight", 1)?,
            time_width: dim("t_embedder.mlp.2.weight", 0)?,
            time_hidden: dim("t_embedder.mlp.0.weight", 0)?,
        };
        expect_blocks(weights, config.layers)?;
        Ok(config)
    }

    /// Bytes that an evaluation on the CPU takes besides the weights, estimated: for latents of that width and height, `batch` of
    /// them at once, with texts of so many tokens.
    #[must_use]
    pub fn sampling_bytes(&self, (width, height): (usize, usize), text_tokens: usize, batch: usize) -> u64 {
        let image = (width / PATCH) * (height / PATCH);
        sampling_bytes(batch * (image + text_tokens), self.width, self.hidden)
    }
}
