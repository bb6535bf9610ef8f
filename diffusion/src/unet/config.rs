//! The sizes of a UNet, read from the shapes of its tensors.

use crate::Error;
use latent_loader::Weights;

/// Tensors of the first level's size that a UNet holds at once: those kept for the up blocks, of all levels together, and
/// what a block works on.
const UNET_TENSORS: usize = 20;

/// How the number of heads of an attention is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    /// The same number everywhere (SD 1.x: 8).
    Count(usize),
    /// The number that gives heads of this width (SD 2.x and SDXL: 64).
    Width(usize),
}

impl Heads {
    /// Number of heads of an attention with this many channels.
    #[must_use]
    pub fn count(self, channels: usize) -> usize {
        match self {
            Heads::Count(count) => count,
            Heads::Width(width) => channels / width,
        }
    }

    /// Whether this many channels are a whole number of heads.
    fn fit(self, channels: usize) -> bool {
        let (Heads::Count(divisor) | Heads::Width(divisor)) = self;
        channels > 0 && channels.is_multiple_of(divisor)
    }
}

/// Sizes of a `UNet2DConditionModel`. The number of heads cannot be read from shapes; the family knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UNetConfig {
    /// Channels of the input: those of the latents and of what is concatenated to them.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Channels of each level, finest first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of a down block; an up block has one more.
    pub layers_per_block: usize,
    /// Transformer blocks of each attention of a level; 0 for a level without attention.
    pub transformer_depth: Vec<usize>,
    /// Transformer blocks of each layer of each up block, finest level first, where they differ from those of the down
    /// blocks (SSD-1B).
    pub up_depth: Option<Vec<Vec<usize>>>,
    /// Transformer blocks of the mid block; 0 for a mid block without attention (SSD-1B, Vega).
    pub mid_depth: usize,
    /// Residual blocks of the mid block: 2; 1 without attention (SSD-1B, Vega); 0 without a mid block.
    pub mid_resnets: usize,
    /// Levels, finest first, whose self-attentions read the text instead (SDXS-512-0.9); none where it is empty.
    pub only_cross_attention: Vec<bool>,
    /// Width of the text's hidden states.
    pub cross_attention_dim: usize,
    /// Length of the added vector (SDXL: pooled text and sizes), for models that take one.
    pub added_dim: Option<usize>,
    /// Length of the embedding of the guidance scale, for models that take it (LCM).
    pub time_cond_proj_dim: Option<usize>,
    /// Heads of every attention.
    pub heads: Heads,
}

impl UNetConfig {
    /// The finest level with attention, where tokens may be merged.
    pub(super) fn finest_attention(&self) -> Option<usize> {
        self.transformer_depth.iter().position(|depth| *depth > 0)
    }

    /// Reads the sizes from tensors named as diffusers names them.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing.
    pub fn from_weights(weights: &Weights, heads: Heads) -> Result<UNetConfig, Error> {
        UNetConfig::read(weights, heads, true)
    }

    /// As [`UNetConfig::from_weights`], from weights without up blocks (ControlNet): there are no output channels, and no
    /// text width where nothing attends to a text.
    pub(crate) fn from_encoder_weights(weights: &Weights, heads: Heads) -> Result<UNetConfig, Error> {
        UNetConfig::read(weights, heads, false)
    }

    fn read(weights: &Weights, heads: Heads, has_up_blocks: bool) -> Result<UNetConfig, Error> {
        let dim = |name: &str, axis: usize| -> Result<usize, Error> { Ok(weights.dim(name, axis)?) };
        let count =
            |exists: &dyn Fn(usize) -> String| (0..).take_while(|i| weights.contains(&exists(*i))).count();
        let blocks = |attention: &str| count(&|k| format!("{attention}.transformer_blocks.{k}.norm1.weight"));
        let levels = count(&|i| format!("down_blocks.{i}.resnets.0.conv1.weight"));
        let layers = count(&|j| format!("down_blocks.0.resnets.{j}.conv1.weight"));
        let side = |direction: &str, layers: usize| -> Vec<Vec<usize>> {
            let layer = |i, j| blocks(&format!("{direction}_blocks.{i}.attentions.{j}"));
            (0..levels).map(|i| (0..layers).map(|j| layer(i, j)).collect()).collect()
        };
        let (down, mut up) = (side("down", layers), side("up", layers + 1));
        up.reverse();
        let transformer_depth: Vec<usize> = down.iter().filter_map(|level| level.first().copied()).collect();
        let is_depth = |(level, depth): (&Vec<usize>, &usize)| level.iter().all(|layer| layer == depth);
        if !down.iter().zip(&transformer_depth).all(is_depth) {
            return Err(unsupported(weights, format!("{down:?} transformer blocks in its down blocks")));
        }
        let is_usual = !has_up_blocks || up.iter().zip(&transformer_depth).all(is_depth);
        let reads_text = |level: usize| {
            let key = |side: &str, block: usize| {
                format!("{side}_blocks.{block}.attentions.0.transformer_blocks.0.attn1.to_k.weight")
            };
            let shape =
                weights.shape(&key("down", level)).or_else(|| weights.shape(&key("up", levels - 1 - level)));
            shape.is_some_and(|shape| shape.first() != shape.get(1))
        };
        let only_cross_attention: Vec<bool> = (0..levels).map(reads_text).collect();
        let mid_depth = blocks("mid_block.attentions.0");
        let attends = has_up_blocks || mid_depth > 0 || transformer_depth.iter().any(|depth| *depth > 0);
        let config = UNetConfig {
            in_channels: dim("conv_in.weight", 1)?,
            out_channels: if has_up_blocks { dim("conv_out.weight", 0)? } else { 0 },
            block_out_channels: (0..levels)
                .map(|i| dim(&format!("down_blocks.{i}.resnets.0.conv1.weight"), 0))
                .collect::<Result<_, _>>()?,
            layers_per_block: layers,
            up_depth: (!is_usual).then_some(up),
            mid_depth,
            mid_resnets: count(&|j| format!("mid_block.resnets.{j}.conv1.weight")),
            only_cross_attention: if only_cross_attention.contains(&true) {
                only_cross_attention
            } else {
                Vec::new()
            },
            cross_attention_dim: if attends { text_width(weights, &transformer_depth)? } else { 0 },
            transformer_depth,
            added_dim: weights.shape("add_embedding.linear_1.weight").and_then(|shape| shape.get(1).copied()),
            time_cond_proj_dim: weights
                .shape("time_embedding.cond_proj.weight")
                .and_then(|shape| shape.get(1).copied()),
            heads,
        };
        config.check(weights)?;
        Ok(config)
    }

    /// Bytes that an evaluation on the CPU takes besides the weights, estimated: for latents of that width and height, and
    /// `batch` of them at once.
    #[must_use]
    pub fn sampling_bytes(&self, (width, height): (usize, usize), batch: usize) -> u64 {
        let first = self.block_out_channels.first().copied().unwrap_or(0);
        (UNET_TENSORS * first * batch * width * height * size_of::<f32>()) as u64
    }

    /// Whether the self-attentions of a level read the text instead.
    #[must_use]
    pub fn reads_text_alone(&self, level: usize) -> bool {
        self.only_cross_attention.get(level).copied().unwrap_or(false)
    }

    /// Transformer blocks of a layer of the up block of a level.
    #[must_use]
    pub fn up_block_depth(&self, level: usize, layer: usize) -> usize {
        match &self.up_depth {
            Some(depths) => depths[level][layer],
            None => self.transformer_depth[level],
        }
    }

    /// Refuses sizes for which an op would divide by zero.
    fn check(&self, weights: &Weights) -> Result<(), Error> {
        let attends = |level: usize| {
            self.transformer_depth[level] > 0
                || (0..=self.layers_per_block).any(|layer| self.up_block_depth(level, layer) > 0)
                || (self.mid_depth > 0 && level + 1 == self.block_out_channels.len())
        };
        let fits = |(level, channels): (usize, &usize)| {
            *channels > 0 && (!attends(level) || self.heads.fit(*channels))
        };
        let sides = self.layers_per_block > 0 && !self.block_out_channels.is_empty();
        // The mid block's attention is between two residual blocks.
        let mid_fits = if self.mid_depth > 0 { self.mid_resnets == 2 } else { self.mid_resnets < 2 };
        if sides && mid_fits && self.block_out_channels.iter().enumerate().all(fits) {
            return Ok(());
        }
        let mid = format!("{} residual and {} transformer blocks", self.mid_resnets, self.mid_depth);
        Err(unsupported(weights, format!("widths {:?} and a mid block of {mid}", self.block_out_channels)))
    }

    /// The latents' sides must be multiples of this, so that up blocks need no resizing to meet their skip connections.
    #[must_use]
    pub fn size_multiple(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

/// Width of the text's hidden states, from the first attention of the model.
fn text_width(weights: &Weights, depths: &[usize]) -> Result<usize, Error> {
    let level = depths.iter().position(|depth| *depth > 0);
    let block = level.map_or("mid_block".to_owned(), |level| format!("down_blocks.{level}"));
    Ok(weights.dim(&format!("{block}.attentions.0.transformer_blocks.0.attn2.to_k.weight"), 1)?)
}

fn unsupported(weights: &Weights, what: String) -> Error {
    Error::Unsupported {
        file: weights.label().to_owned(),
        reason: format!("a UNet of {what} cannot be built"),
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
