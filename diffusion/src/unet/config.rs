//! The sizes of a UNet, read from the shapes of its tensors.

use crate::Error;
use latent_loader::Weights;

/// Tensors of the first level's size that a UNet holds at once: those kept for the up blocks, of all levels together, and
/// what a block works on.
const UNET_TENSORS: usize = 20;

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
    /// Transformer blocks of each attention of a level, 0 where there is no attention.
    pub transformer_depth: Vec<usize>,
    /// The same for each layer of each level on the way up, finest level first, where they are others than on the way
    /// down (SSD-1B).
    pub up_depth: Option<Vec<Vec<usize>>>,
    /// Transformer blocks in the middle, 0 where there is no attention (SSD-1B, Vega).
    pub mid_depth: usize,
    /// Residual blocks in the middle: 2; 1 without attention (SSD-1B, Vega); 0 where there is no middle.
    pub mid_resnets: usize,
    /// Width of the text states.
    pub cross_attention_dim: usize,
    /// Length of the vector beside the time (SDXL: pooled text and sizes), if there is one.
    pub added_dim: Option<usize>,
    /// Length of the embedding of the guidance, for models that are told of it (LCM).
    pub time_cond_proj_dim: Option<usize>,
    /// Heads of every attention.
    pub heads: Heads,
}

impl UNetConfig {
    /// Reads the sizes from tensors named as diffusers names them.
    ///
    /// # Errors
    /// A tensor that tells a size is missing.
    pub fn from_weights(weights: &Weights, heads: Heads) -> Result<UNetConfig, Error> {
        UNetConfig::read(weights, heads, true)
    }

    /// As [`UNetConfig::from_weights`], of weights without a way up (ControlNet): it has no output channels, and no text
    /// where nothing attends to one.
    pub(crate) fn of_way_down(weights: &Weights, heads: Heads) -> Result<UNetConfig, Error> {
        UNetConfig::read(weights, heads, false)
    }

    fn read(weights: &Weights, heads: Heads, has_way_up: bool) -> Result<UNetConfig, Error> {
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
            return Err(unsupported(weights, format!("attentions of {down:?} blocks on the way down")));
        }
        let is_usual = !has_way_up || up.iter().zip(&transformer_depth).all(is_depth);
        let mid_depth = blocks("mid_block.attentions.0");
        let attends = has_way_up || mid_depth > 0 || transformer_depth.iter().any(|depth| *depth > 0);
        let config = UNetConfig {
            in_channels: dim("conv_in.weight", 1)?,
            out_channels: if has_way_up { dim("conv_out.weight", 0)? } else { 0 },
            block_out_channels: (0..levels)
                .map(|i| dim(&format!("down_blocks.{i}.resnets.0.conv1.weight"), 0))
                .collect::<Result<_, _>>()?,
            layers_per_block: layers,
            up_depth: (!is_usual).then_some(up),
            mid_depth,
            mid_resnets: count(&|j| format!("mid_block.resnets.{j}.conv1.weight")),
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

    /// Transformer blocks of a layer on the way up.
    #[must_use]
    pub fn depth_up(&self, level: usize, layer: usize) -> usize {
        match &self.up_depth {
            Some(depths) => depths[level][layer],
            None => self.transformer_depth[level],
        }
    }

    /// Refuses sizes on which an op would divide by nothing.
    fn check(&self, weights: &Weights) -> Result<(), Error> {
        let attends = |level: usize| {
            self.transformer_depth[level] > 0
                || (0..=self.layers_per_block).any(|layer| self.depth_up(level, layer) > 0)
                || (self.mid_depth > 0 && level + 1 == self.block_out_channels.len())
        };
        let fits = |(level, channels): (usize, &usize)| {
            *channels > 0 && (!attends(level) || self.heads.fit(*channels))
        };
        let sides = self.layers_per_block > 0 && !self.block_out_channels.is_empty();
        // An attention in the middle lies between two residual blocks.
        let middle = if self.mid_depth > 0 { self.mid_resnets == 2 } else { self.mid_resnets < 2 };
        if sides && middle && self.block_out_channels.iter().enumerate().all(fits) {
            return Ok(());
        }
        let middle =
            format!("{} residual and {} transformer blocks in the middle", self.mid_resnets, self.mid_depth);
        Err(unsupported(weights, format!("widths {:?}, {middle}", self.block_out_channels)))
    }

    /// The latent's sides must be multiples of this for the way up to meet the way down without resizing.
    #[must_use]
    pub fn size_multiple(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

/// Width of the text states, from the first attention that there is.
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
