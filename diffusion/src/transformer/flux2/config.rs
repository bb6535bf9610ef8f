//! The sizes of Flux.2, read from the shapes of its tensors.

use crate::Error;
use crate::transformer::sizes::{count_blocks, expect_blocks, heads, sampling_bytes};
use latent_loader::Weights;

/// The widths of heads are multiples of this, so that each axis of positions has an even number of channels.
const HEAD_MULTIPLE: usize = 8;

/// Sizes of a `Flux2Transformer2DModel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flux2Config {
    /// Channels of the latents: 128, those of 2x2 pixels of the VAE side by side.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Width of the hidden states.
    pub width: usize,
    /// Width between the layers of an MLP.
    pub hidden: usize,
    /// Heads of every attention.
    pub heads: usize,
    /// Double blocks: 5 in klein 4B.
    pub layers: usize,
    /// Single blocks: 20 in klein 4B.
    pub single_layers: usize,
    /// Width of the text's hidden states, several layers side by side: 7680 in klein 4B.
    pub text_width: usize,
    /// Whether the guidance scale is one of the inputs (dev).
    pub takes_guidance: bool,
}

impl Flux2Config {
    /// Reads the sizes from tensors with canonical names.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing; sizes of which no network can be built.
    pub fn from_weights(weights: &Weights) -> Result<Flux2Config, Error> {
        let dim = |name: &str, axis: usize| -> Result<usize, Error> { Ok(weights.dim(name, axis)?) };
        let width = dim("x_embedder.weight", 0)?;
        let config = Flux2Config {
            in_channels: dim("x_embedder.weight", 1)?,
            out_channels: dim("proj_out.weight", 0)?,
            width,
            hidden: dim("transformer_blocks.0.ff.linear_out.weight", 1)?,
            heads: heads(weights, width, dim("transformer_blocks.0.attn.norm_q.weight", 0)?, HEAD_MULTIPLE)?,
            layers: count_blocks(weights, "transformer_blocks", "attn.to_out.0.weight"),
            single_layers: count_blocks(weights, "single_transformer_blocks", "attn.to_out.weight"),
            text_width: dim("context_embedder.weight", 1)?,
            takes_guidance: weights.contains("time_guidance_embed.guidance_embedder.linear_1.weight"),
        };
        expect_blocks(weights, config.layers.min(config.single_layers))?;
        Ok(config)
    }

    /// Bytes that an evaluation on the CPU takes besides the weights, estimated: for latents of that width and height, `batch` of
    /// them at once, with texts of so many tokens.
    #[must_use]
    pub fn sampling_bytes(&self, (width, height): (usize, usize), text_tokens: usize, batch: usize) -> u64 {
        // A single block has the attention's output and the MLP's beside each other too.
        sampling_bytes(batch * (width * height + text_tokens), self.width, 2 * self.hidden)
    }
}
