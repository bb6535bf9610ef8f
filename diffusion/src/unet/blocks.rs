//! The blocks of a UNet: down, mid and up.

use super::EPS;
use super::config::UNetConfig;
use super::transformer::{KeysValues, SpatialTransformer, TextKeys};
use crate::Error;
use crate::blocks::BlockCount;
use crate::params::{Block, BlockList, Params};
use crate::resnet::ResnetBlock;
use latent_tensor::{Conv2d, Epilogue, Padding, Prologue, Tensor, ops};

/// A residual block and, where the level has attention, a transformer.
struct UNetLayer {
    resnet: Block<ResnetBlock>,
    attention: Option<SpatialTransformer>,
}

impl UNetLayer {
    /// UNetLayer `index` of a block at `level`, with `depth` transformer blocks.
    fn load(
        params: &Params<'_>,
        config: &UNetConfig,
        index: usize,
        level: usize,
        inputs: usize,
        depth: usize,
    ) -> Result<UNetLayer, Error> {
        let outputs = config.block_out_channels[level];
        let time_width = 4 * config.block_out_channels[0];
        let resnet = move |params: &Params<'_>| {
            ResnetBlock::load(&params.scope("resnets").scope(index), inputs, outputs, Some(time_width), EPS)
        };
        let attention = params.scope("attentions").scope(index);
        let transformer = || -> Result<SpatialTransformer, Error> {
            let reach = (config.cross_attention_dim, config.reads_text_alone(level));
            let transformer = SpatialTransformer::load(&attention, outputs, depth, reach, config.heads)?;
            Ok(transformer.at_finest_level(config.finest_attention() == Some(level)))
        };
        Ok(UNetLayer {
            resnet: Block::load(params, resnet)?,
            attention: (depth > 0).then(transformer).transpose()?,
        })
    }

    fn forward(
        &self,
        mut x: Tensor,
        time: &Tensor,
        text: &mut TextKeys<'_>,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        x = self.resnet.get()?.forward(x, Some(time))?;
        if let Some(attention) = &self.attention {
            x = attention.forward(x, text)?;
        }
        count.add_hidden(&x)?;
        Ok(x)
    }
}

/// The down block of a level (`CrossAttnDownBlock2D`; without attention `DownBlock2D`).
pub(super) struct CrossAttnDownBlock {
    layers: Vec<UNetLayer>,
    downsampler: Option<Conv2d>,
}

impl CrossAttnDownBlock {
    pub(super) fn load(
        params: &Params<'_>,
        config: &UNetConfig,
        level: usize,
        inputs: usize,
    ) -> Result<CrossAttnDownBlock, Error> {
        let outputs = config.block_out_channels[level];
        let depth = config.transformer_depth[level];
        let layer =
            |i| UNetLayer::load(params, config, i, level, if i == 0 { inputs } else { outputs }, depth);
        let is_last = level + 1 == config.block_out_channels.len();
        let downsampler = || params.conv("downsamplers.0.conv", [outputs, outputs, 3], 2, Padding::all(1));
        Ok(CrossAttnDownBlock {
            layers: (0..config.layers_per_block).map(layer).collect::<Result<_, _>>()?,
            downsampler: (!is_last).then(downsampler).transpose()?,
        })
    }

    /// Keys and values of the text for its attentions, in their order.
    pub(super) fn keys_values(&self, text: &Tensor) -> Result<Vec<KeysValues>, Error> {
        keys_values(self.layers.iter().filter_map(|layer| layer.attention.as_ref()), text)
    }

    /// The hidden states after each layer. The last one is the input of the next block; all are skip connections.
    ///
    /// A feature of T2I-Adapters is added after the last layer, or without attention, as in diffusers, after the downsampler.
    pub(super) fn forward(
        &self,
        (x, feature): (Tensor, Option<&Tensor>),
        time: &Tensor,
        text: &mut TextKeys<'_>,
        count: &mut BlockCount<'_>,
    ) -> Result<Vec<Tensor>, Error> {
        let mut skips = self.forward_layers((x, feature), time, text, count)?;
        if let (Some(downsampler), Some(x)) = (&self.downsampler, skips.last()) {
            let x = ops::conv2d(x, downsampler)?;
            count.add_hidden(&x)?;
            skips.push(x);
        }
        if let (Some(feature), false) = (feature, self.attends()) {
            let last = skips.pop();
            skips.extend(last.map(|last| ops::add(last, feature)).transpose()?);
        }
        Ok(skips)
    }

    /// Number of transformer blocks.
    pub(super) fn transformer_blocks(&self) -> usize {
        transformer_blocks(self.layers.iter().filter_map(|layer| layer.attention.as_ref()))
    }

    fn attends(&self) -> bool {
        self.layers.iter().any(|layer| layer.attention.is_some())
    }

    /// Number of layers.
    pub(super) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Number of blocks as [`BlockCount`] counts them: its skip connections.
    pub(super) fn blocks(&self) -> usize {
        self.layers() + usize::from(self.downsampler.is_some())
    }

    /// As [`CrossAttnDownBlock::forward`], without the downsampler.
    pub(super) fn forward_layers(
        &self,
        (mut x, feature): (Tensor, Option<&Tensor>),
        time: &Tensor,
        text: &mut TextKeys<'_>,
        count: &mut BlockCount<'_>,
    ) -> Result<Vec<Tensor>, Error> {
        let mut skips = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, time, text, count)?;
            if let Some(feature) = feature.filter(|_| i + 1 == self.layers.len() && self.attends()) {
                x = ops::add(x, feature)?;
            }
            skips.push(x.clone());
        }
        Ok(skips)
    }
}

/// The block between down and up blocks (`UNetMidBlock2DCrossAttn`; without attention `UNetMidBlock2D`).
pub(super) struct UNetMidBlock {
    resnets: BlockList<ResnetBlock>,
    attention: Option<SpatialTransformer>,
}

impl UNetMidBlock {
    pub(super) fn load(
        params: &Params<'_>,
        config: &UNetConfig,
        channels: usize,
    ) -> Result<UNetMidBlock, Error> {
        let time_width = Some(4 * config.block_out_channels[0]);
        let resnet = move |params: &Params<'_>, i| {
            ResnetBlock::load(&params.scope("resnets").scope(i), channels, channels, time_width, EPS)
        };
        let attention = params.scope("attentions.0");
        let (depth, context) = (config.mid_depth, config.cross_attention_dim);
        let transformer = || -> Result<SpatialTransformer, Error> {
            let loaded =
                SpatialTransformer::load(&attention, channels, depth, (context, false), config.heads)?;
            Ok(loaded.in_mid_block())
        };
        Ok(UNetMidBlock {
            resnets: BlockList::load(params, config.mid_resnets, resnet)?,
            attention: (depth > 0).then(transformer).transpose()?,
        })
    }

    /// Keys and values of the text for its attention, if it has one.
    pub(super) fn keys_values(&self, text: &Tensor) -> Result<Vec<KeysValues>, Error> {
        keys_values(self.attention.iter(), text)
    }

    /// Number of transformer blocks.
    pub(super) fn transformer_blocks(&self) -> usize {
        transformer_blocks(self.attention.iter())
    }

    /// Number of cross-attentions, each of which has keys and values of the text.
    pub(super) fn text_keys(&self) -> usize {
        self.attention.as_ref().map_or(0, SpatialTransformer::readers)
    }

    pub(super) fn forward(
        &self,
        mut x: Tensor,
        time: &Tensor,
        text: &mut TextKeys<'_>,
    ) -> Result<Tensor, Error> {
        for i in 0..self.resnets.len() {
            if let Some(attention) = self.attention.as_ref().filter(|_| i > 0) {
                x = attention.forward(x, text)?;
            }
            x = self.resnets.get(i)?.forward(x, Some(time))?;
        }
        Ok(x)
    }
}

/// The up block of a level (`CrossAttnUpBlock2D`; without attention `UpBlock2D`).
pub(super) struct CrossAttnUpBlock {
    layers: Vec<UNetLayer>,
    upsampler: Option<Conv2d>,
}

impl CrossAttnUpBlock {
    /// `skips`: channels of the skip connections that are left; this block takes its own from the end.
    pub(super) fn load(
        params: &Params<'_>,
        config: &UNetConfig,
        level: usize,
        inputs: usize,
        skips: &mut Vec<usize>,
    ) -> Result<CrossAttnUpBlock, Error> {
        let outputs = config.block_out_channels[level];
        let layer = |i| {
            let inputs = if i == 0 { inputs } else { outputs };
            let depth = config.up_block_depth(level, i);
            UNetLayer::load(params, config, i, level, inputs + skips.pop().unwrap_or(0), depth)
        };
        let upsampler = || params.conv3x3("upsamplers.0.conv", outputs, outputs);
        Ok(CrossAttnUpBlock {
            layers: (0..=config.layers_per_block).map(layer).collect::<Result<_, _>>()?,
            upsampler: (level > 0).then(upsampler).transpose()?,
        })
    }

    /// Keys and values of the text for its attentions, in their order.
    pub(super) fn keys_values(&self, text: &Tensor) -> Result<Vec<KeysValues>, Error> {
        keys_values(self.layers.iter().filter_map(|layer| layer.attention.as_ref()), text)
    }

    /// Number of layers.
    pub(super) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Number of transformer blocks.
    pub(super) fn transformer_blocks(&self) -> usize {
        transformer_blocks(self.layers.iter().filter_map(|layer| layer.attention.as_ref()))
    }

    /// Number of cross-attentions, each of which has keys and values of the text.
    pub(super) fn text_keys(&self) -> usize {
        self.layers.iter().filter_map(|layer| layer.attention.as_ref()).map(SpatialTransformer::readers).sum()
    }

    /// Takes its skip connections from the end of `skips`.
    pub(super) fn forward(
        &self,
        mut x: Tensor,
        time: &Tensor,
        text: &mut TextKeys<'_>,
        skips: &mut Vec<Tensor>,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        for layer in &self.layers {
            if let Some(skip) = skips.pop() {
                x = ops::concat_channels(&x, &skip)?;
            }
            x = layer.forward(x, time, text, count)?;
        }
        if let (Some(upsampler), Some(next)) = (&self.upsampler, skips.last()) {
            // Not always twice the size: a side of 3 can come from one of 5 or 6.
            let (height, width) = (next.dims()[1], next.dims()[2]);
            let resize = Prologue::resize(Some([height, width]));
            x = ops::conv2d_fused(&x, upsampler, resize, Epilogue::none())?;
        }
        Ok(x)
    }
}

/// Number of transformer blocks of some attentions.
fn transformer_blocks<'a>(attentions: impl Iterator<Item = &'a SpatialTransformer>) -> usize {
    attentions.map(SpatialTransformer::blocks).sum()
}

/// Keys and values of the text for some attentions, in their order.
fn keys_values<'a>(
    attentions: impl Iterator<Item = &'a SpatialTransformer>,
    text: &Tensor,
) -> Result<Vec<KeysValues>, Error> {
    let all = attentions.map(|attention| attention.keys_values(text)).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().flatten().collect())
}
