//! The sizes of a UNet, read from the shapes of its tensors.

use crate::Error;
use latent_loader::Weights;

/// How many heads an attention has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    /// The same number everywhere (SD 1.x: 8).
    Count(usize),
    /// As many as give heads of this width (SD 2.x and SDXL: 64).
    Width(usize),
}

impl Heads {
    /// Number of heads of an attention of that many channels.
    #[must_use]
    pub fn count(self, channels: usize) -> usize {
        match self {
            Heads::Count(count) => count,
            Heads::Width(width) => channels / width,
        }
    }

    /// Whether an attention of that many channels has whole heads.
    fn fit(self, channels: usize) -> bool {
        let (Heads::Count(divisor) | Heads::Width(divisor)) = self;
        channels > 0 && channels.is_multiple_of(divisor)
    }
}

/// Sizes of a `UNet2DConditionModel`. Shapes do not tell the number of heads: that is the family's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UNetConfig {
    /// Channels of the latent, with what is appended to it.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Channels of each level, finest first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of a level on the way down; the way up has one more.
    pub layers_per_block: usize,
    /// Transformer blocks of each level, 0 where there is no attention.
    pub transformer_depth: Vec<usize>,
    /// Transformer blocks in the middle.
    pub mid_depth: usize,
    /// Width of the text states.
    pub cross_attention_dim: usize,
    /// Length of the vector beside the time (SDXL: pooled text and sizes), if there is one.
    pub added_dim: Option<usize>,
    /// Heads of every attention.
    pub heads: Heads,
}

impl UNetConfig {
    /// Reads the sizes from tensors named as diffusers names them.
    ///
    /// # Errors
    /// A tensor that tells a size is missing.
    pub fn from_weights(weights: &Weights, heads: Heads) -> Result<UNetConfig, Error> {
        let dim = |name: &str, axis: usize| -> Result<usize, Error> { Ok(weights.dim(name, axis)?) };
        let count =
            |exists: &dyn Fn(usize) -> String| (0..).take_while(|i| weights.contains(&exists(*i))).count();
        let levels = count(&|i| format!("down_blocks.{i}.resnets.0.conv1.weight"));
        let mut config = UNetConfig {
            in_channels: dim("conv_in.weight", 1)?,
            out_channels: dim("conv_out.weight", 0)?,
            block_out_channels: Vec::new(),
            layers_per_block: count(&|j| format!("down_blocks.0.resnets.{j}.conv1.weight")),
            transformer_depth: Vec::new(),
            mid_depth: count(&|k| format!("mid_block.attentions.0.transformer_blocks.{k}.norm1.weight")),
            cross_attention_dim: dim("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 1)?,
            added_dim: weights.shape("add_embedding.linear_1.weight").and_then(|shape| shape.get(1).copied()),
            heads,
        };
        for i in 0..levels {
            config.block_out_channels.push(dim(&format!("down_blocks.{i}.resnets.0.conv1.weight"), 0)?);
            let block = |k| format!("down_blocks.{i}.attentions.0.transformer_blocks.{k}.norm1.weight");
            config.transformer_depth.push(count(&block));
        }
        config.check(weights)?;
        Ok(config)
    }

    /// Refuses sizes on which an op would divide by nothing.
    fn check(&self, weights: &Weights) -> Result<(), Error> {
        let fits =
            |(channels, depth): (&usize, &usize)| *channels > 0 && (*depth == 0 || self.heads.fit(*channels));
        let mut levels = self.block_out_channels.iter().zip(&self.transformer_depth);
        let middle = self.block_out_channels.last().is_some_and(|channels| self.heads.fit(*channels));
        if !middle || !levels.all(fits) {
            return Err(Error::Unsupported {
                file: weights.label().to_owned(),
                reason: format!("a UNet of widths {:?} cannot be built", self.block_out_channels),
            });
        }
        Ok(())
    }

    /// The latent's sides must be multiples of this for the way up to meet the way down without resizing.
    #[must_use]
    pub fn size_multiple(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_whole() {
        let (count, width) = (Heads::Count(8), Heads::Width(64));
        assert_eq!((count.count(640), width.count(640)), (8, 10));
        assert!(count.fit(320) && width.fit(320));
        for (heads, channels) in [(count, 36), (width, 96), (width, 32), (count, 0), (width, 0)] {
            assert!(!heads.fit(channels), "{heads:?} {channels}");
        }
    }
}
