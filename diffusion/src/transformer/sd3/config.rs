//! The sizes of an MMDiT, read from the shapes of its tensors.

use crate::Error;
use crate::transformer::sizes::{
    count_blocks, expect_blocks, heads, patch_channels, sampling_bytes, unsupported,
};
use latent_loader::Weights;

/// Width of a head where the file does not tell it (SD 3, whose queries and keys are not normed).
const HEAD_WIDTH: usize = 64;

/// Sizes of an `SD3Transformer2DModel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sd3Config {
    /// Channels of the latents.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Pixels of a patch's side: 2.
    pub patch: usize,
    /// Width of the hidden states.
    pub width: usize,
    /// Width between the layers of an MLP.
    pub hidden: usize,
    /// Heads of every attention.
    pub heads: usize,
    /// Blocks: 24, in SD 3.5 large 38.
    pub layers: usize,
    /// How many of the first blocks have a second attention of the image alone: 13 in SD 3.5 medium, else none.
    pub dual_layers: usize,
    /// Whether queries and keys are normed (SD 3.5).
    pub has_qk_norm: bool,
    /// Width of the text's hidden states: 4096.
    pub text_width: usize,
    /// Width of the pooled text: 2048.
    pub pooled_width: usize,
    /// Patches of a side of the table of positions: 192, in SD 3.5 medium 384. Latents can have as many at most.
    pub position_grid: usize,
}

impl Sd3Config {
    /// Reads the sizes from tensors with canonical names.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing; sizes of which no network can be built.
    pub fn from_weights(weights: &Weights) -> Result<Sd3Config, Error> {
        let dim = |name: &str, axis: usize| -> Result<usize, Error> { Ok(weights.dim(name, axis)?) };
        let width = dim("pos_embed.proj.weight", 0)?;
        let patch = dim("pos_embed.proj.weight", 2)?;
        let norm = weights.shape("transformer_blocks.0.attn.norm_q.weight").and_then(|shape| shape.first());
        let positions = dim("pos_embed.pos_embed", 1)?;
        let position_grid = positions.isqrt();
        if position_grid * position_grid != positions || patch == 0 {
            let what = format!("patches of {patch} and a table of {positions} positions");
            return Err(unsupported(weights, what));
        }
        let blocks = |tensor| count_blocks(weights, "transformer_blocks", tensor);
        let config = Sd3Config {
            in_channels: dim("pos_embed.proj.weight", 1)?,
            out_channels: patch_channels(weights, dim("proj_out.weight", 0)?, patch * patch)?,
            patch,
            width,
            hidden: dim("transformer_blocks.0.ff.net.0.proj.weight", 0)?,
            heads: heads(weights, width, norm.copied().unwrap_or(HEAD_WIDTH), 1)?,
            layers: blocks("attn.to_out.0.weight"),
            dual_layers: blocks("attn2.to_out.0.weight"),
            has_qk_norm: norm.is_some(),
            text_width: dim("context_embedder.weight", 1)?,
            pooled_width: dim("time_text_embed.text_embedder.linear_1.weight", 1)?,
            position_grid,
        };
        expect_blocks(weights, config.layers)?;
        Ok(config)
    }

    /// Bytes that an evaluation on the CPU takes besides the weights, estimated: for latents of that width and height, `batch` of
    /// them at once, with texts of so many tokens.
    #[must_use]
    pub fn sampling_bytes(&self, (width, height): (usize, usize), text_tokens: usize, batch: usize) -> u64 {
        let image = (width / self.patch) * (height / self.patch);
        sampling_bytes(batch * (image + text_tokens), self.width, self.hidden)
    }
}
