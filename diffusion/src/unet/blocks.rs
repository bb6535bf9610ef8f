//! The levels of a UNet.

use super::EPS;
use super::config::UNetConfig;
use super::transformer::{KeysValues, SpatialTransformer, TextKeys};
use crate::resnet::ResnetBlock;
use crate::{Error, params::Params};
use latent_tensor::{Conv2d, Epilogue, Padding, Prologue, Tensor, ops};

/// A residual block and, where the level has attention, a transformer.
struct Layer {
    resnet: ResnetBlock,
    attention: Option<SpatialTransformer>,
}

impl Layer {
    /// Layer `index` of a block at `level`, with `depth` transformer blocks.
    fn load(
        params: &Params<'_>,
        config: &UNetConfig,
        index: usize,
        level: usize,
        inputs: usize,
        depth: usize,
    ) -> Result<Layer, Error> {
        let outputs = config.block_out_channels[level];
        let time_width = 4 * config.block_out_channels[0];
        let resnet = params.scope("resnets").scope(index);
        let attention = params.scope("attentions").scope(index);
        let transformer =
            || SpatialTransformer::load(&attention, outputs, depth, config.cross_attention_dim, config.heads);
        Ok(Layer {
            resnet: ResnetBlock::load(&resnet, inputs, outputs, Some(time_width), EPS)?,
            attention: (depth > 0).then(transformer).transpose()?,
        })
    }

    fn forward(&self, x: Tensor, time: &Tensor, text: &mut TextKeys<'_>) -> Result<Tensor, Error> {
        let x = self.resnet.forward(x, Some(time))?;
        match &self.attention {
            Some(attention) => attention.forward(x, text),
            None => Ok(x),
        }
    }
}

/// A level on the way down (`CrossAttnDownBlock2D`, `DownBlock2D`).
pub(super) struct DownBlock {
    layers: Vec<Layer>,
    downsampler: Option<Conv2d>,
}

impl DownBlock {
    pub(super) fn load(
        params: &Params<'_>,
        config: &UNetConfig,
        level: usize,
        inputs: usize,
    ) -> Result<DownBlock, Error> {
        let outputs = config.block_out_channels[level];
        let depth = config.transformer_depth[level];
        let layer = |i| Layer::load(params, config, i, level, if i == 0 { inputs } else { outputs }, depth);
        let is_last = level + 1 == config.block_out_channels.len();
        let downsampler = || params.conv("downsamplers.0.conv", [outputs, outputs, 3], 2, Padding::all(1));
        Ok(DownBlock {
            layers: (0..config.layers_per_block).map(layer).collect::<Result<_, _>>()?,
            downsampler: (!is_last).then(downsampler).transpose()?,
        })
    }

    /// Keys and values of the text for its attentions, in their order.
    pub(super) fn keys_values(&self, text: &Tensor) -> Result<Vec<KeysValues>, Error> {
        keys_values(self.layers.iter().filter_map(|layer| layer.attention.as_ref()), text)
    }

    /// The states after each layer: the last goes on, all come back on the way up.
    pub(super) fn forward(
        &self,
        x: Tensor,
        time: &Tensor,
        text: &mut TextKeys<'_>,
    ) -> Result<Vec<Tensor>, Error> {
        let mut states = self.forward_layers(x, time, text)?;
        if let (Some(downsampler), Some(x)) = (&self.downsampler, states.last()) {
            states.push(ops::conv2d(x, downsampler)?);
        }
        Ok(states)
    }

    /// The same without the downsampler's.
    pub(super) fn forward_layers(
        &self,
        mut x: Tensor,
        time: &Tensor,
        text: &mut TextKeys<'_>,
    ) -> Result<Vec<Tensor>, Error> {
        let mut states = Vec::new();
        for layer in &self.layers {
            x = layer.forward(x, time, text)?;
            states.push(x.clone());
        }
        Ok(states)
    }
}

/// Beyond the coarsest level (`UNetMidBlock2DCrossAttn`; without attention `UNetMidBlock2D`).
pub(super) struct MidBlock {
    resnets: Vec<ResnetBlock>,
    attention: Option<SpatialTransformer>,
}

impl MidBlock {
    pub(super) fn load(params: &Params<'_>, config: &UNetConfig, channels: usize) -> Result<MidBlock, Error> {
        let time_width = Some(4 * config.block_out_channels[0]);
        let resnet =
            |i| ResnetBlock::load(&params.scope("resnets").scope(i), channels, channels, time_width, EPS);
        let attention = params.scope("attentions.0");
        let (depth, context) = (config.mid_depth, config.cross_attention_dim);
        let transformer = || SpatialTransformer::load(&attention, channels, depth, context, config.heads);
        Ok(MidBlock {
            resnets: (0..config.mid_resnets).map(resnet).collect::<Result<_, _>>()?,
            attention: (depth > 0).then(transformer).transpose()?,
        })
    }

    /// Keys and values of the text for its attention, if it has one.
    pub(super) fn keys_values(&self, text: &Tensor) -> Result<Vec<KeysValues>, Error> {
        keys_values(self.attention.iter(), text)
    }

    pub(super) fn forward(
        &self,
        mut x: Tensor,
        time: &Tensor,
        text: &mut TextKeys<'_>,
    ) -> Result<Tensor, Error> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            if let Some(attention) = self.attention.as_ref().filter(|_| i > 0) {
                x = attention.forward(x, text)?;
            }
            x = resnet.forward(x, Some(time))?;
        }
        Ok(x)
    }
}

/// A level on the way up (`CrossAttnUpBlock2D`, `UpBlock2D`).
pub(super) struct UpBlock {
    layers: Vec<Layer>,
    upsampler: Option<Conv2d>,
}

impl UpBlock {
    /// `skips`: channels of the states that the way down left; this level takes its own from the end.
    pub(super) fn load(
        params: &Params<'_>,
        config: &UNetConfig,
        level: usize,
        inputs: usize,
        skips: &mut Vec<usize>,
    ) -> Result<UpBlock, Error> {
        let outputs = config.block_out_channels[level];
        let layer = |i| {
            let inputs = if i == 0 { inputs } else { outputs };
            let depth = config.depth_up(level, i);
            Layer::load(params, config, i, level, inputs + skips.pop().unwrap_or(0), depth)
        };
        let upsampler = || params.conv3x3("upsamplers.0.conv", outputs, outputs);
        Ok(UpBlock {
            layers: (0..=config.layers_per_block).map(layer).collect::<Result<_, _>>()?,
            upsampler: (level > 0).then(upsampler).transpose()?,
        })
    }

    /// Keys and values of the text for its attentions, in their order.
    pub(super) fn keys_values(&self, text: &Tensor) -> Result<Vec<KeysValues>, Error> {
        keys_values(self.layers.iter().filter_map(|layer| layer.attention.as_ref()), text)
    }

    /// How many layers it has.
    pub(super) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// How many keys and values it takes from those of the text.
    pub(super) fn text_keys(&self) -> usize {
        self.layers.iter().filter_map(|layer| layer.attention.as_ref()).map(SpatialTransformer::depth).sum()
    }

    /// Takes its states from the end of `skips`.
    pub(super) fn forward(
        &self,
        mut x: Tensor,
        time: &Tensor,
        text: &mut TextKeys<'_>,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor, Error> {
        for layer in &self.layers {
            if let Some(skip) = skips.pop() {
                x = ops::concat_channels(&x, &skip)?;
            }
            x = layer.forward(x, time, text)?;
        }
        if let (Some(upsampler), Some(next)) = (&self.upsampler, skips.last()) {
            // Not always twice the size: a side of 3 came from one of 5 or 6.
            let (height, width) = (next.dims()[1], next.dims()[2]);
            let resize = Prologue::resize(Some([height, width]));
            x = ops::conv2d_fused(&x, upsampler, resize, Epilogue::none())?;
        }
        Ok(x)
    }
}

/// Keys and values of the text for some attentions, one after the other.
fn keys_values<'a>(
    attentions: impl Iterator<Item = &'a SpatialTransformer>,
    text: &Tensor,
) -> Result<Vec<KeysValues>, Error> {
    let all = attentions.map(|attention| attention.keys_values(text)).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().flatten().collect())
}
