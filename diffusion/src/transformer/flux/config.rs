//! The sizes of Flux.1 and Chroma, read from the shapes of their tensors.

use crate::Error;
use crate::transformer::sizes::{count_blocks, expect_blocks, heads, patch_channels, sampling_bytes};
use latent_loader::Weights;

/// Pixels of a patch's side.
pub(super) const PATCH: usize = 2;
/// The widths of heads are multiples of this, so that each axis of positions has an even number of channels.
const HEAD_MULTIPLE: usize = 32;

/// Sizes of a `FluxTransformer2DModel` or a `ChromaTransformer2DModel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FluxConfig {
    /// Channels of the latents, and of what is concatenated to them: 16; Flux.1 Fill 96.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Width of the hidden states.
    pub width: usize,
    /// Width between the layers of an MLP.
    pub hidden: usize,
    /// Heads of every attention.
    pub heads: usize,
    /// Double blocks: 19.
    pub layers: usize,
    /// Single blocks: 38.
    pub single_layers: usize,
    /// Width of the text's hidden states: 4096.
    pub text_width: usize,
    /// What the network is modulated by.
    pub conditioning: FluxConditioning,
}

/// What the blocks are modulated by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FluxConditioning {
    /// Time and pooled text, by layers of each block (Flux.1).
    Embedded {
        /// Width of the pooled text: 768.
        pooled_width: usize,
        /// Whether the guidance scale is one of the inputs (dev).
        takes_guidance: bool,
    },
    /// The time alone, by one network for all blocks (Chroma).
    Approximated(Approximator),
}

/// Sizes of the network that makes Chroma's modulations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approximator {
    /// Width of its input: 64.
    pub inputs: usize,
    /// Width of its hidden states: 5120.
    pub width: usize,
    /// Its layers: 5.
    pub layers: usize,
}

impl FluxConfig {
    /// Reads the sizes from tensors with canonical names.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing; sizes of which no network can be built.
    pub fn from_weights(weights: &Weights) -> Result<FluxConfig, Error> {
        let dim = |name: &str, axis: usize| -> Result<usize, Error> { Ok(weights.dim(name, axis)?) };
        let pixels = PATCH * PATCH;
        let width = dim("x_embedder.weight", 0)?;
        let conditioning = if weights.contains("distilled_guidance_layer.in_proj.weight") {
            FluxConditioning::Approximated(Approximator {
                inputs: dim("distilled_guidance_layer.in_proj.weight", 1)?,
                width: dim("distilled_guidance_layer.in_proj.weight", 0)?,
                layers: count_blocks(weights, "distilled_guidance_layer.layers", "linear_1.weight"),
            })
        } else {
            FluxConditioning::Embedded {
                pooled_width: dim("time_text_embed.text_embedder.linear_1.weight", 1)?,
                takes_guidance: weights.contains("time_text_embed.guidance_embedder.linear_1.weight"),
            }
        };
        let config = FluxConfig {
            in_channels: patch_channels(weights, dim("x_embedder.weight", 1)?, pixels)?,
            out_channels: patch_channels(weights, dim("proj_out.weight", 0)?, pixels)?,
            width,
            hidden: dim("transformer_blocks.0.ff.net.0.proj.weight", 0)?,
            heads: heads(weights, width, dim("transformer_blocks.0.attn.norm_q.weight", 0)?, HEAD_MULTIPLE)?,
            layers: count_blocks(weights, "transformer_blocks", "attn.to_out.0.weight"),
            single_layers: count_blocks(weights, "single_transformer_blocks", "proj_out.weight"),
            text_width: dim("context_embedder.weight", 1)?,
            conditioning,
        };
        expect_blocks(weights, config.layers.min(config.single_layers))?;
        Ok(config)
    }

    /// Bytes that an evaluation on the CPU takes besides the weights, estimated: for latents of that width and height, `batch` of
    /// them at once, with texts of so many tokens.
    #[must_use]
    pub fn sampling_bytes(&self, (width, height): (usize, usize), text_tokens: usize, batch: usize) -> u64 {
        let image = (width / PATCH) * (height / PATCH);
        // A single block has the attention's output and the MLP's beside each other too.
        sampling_bytes(batch * (image + text_tokens), self.width, 2 * self.hidden)
    }
}
