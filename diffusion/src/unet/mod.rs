//! The network that predicts the noise in a latent (`UNet2DConditionModel`; Ronneberger et al., U-Net, 2015; Rombach
//! et al., Latent Diffusion Models, 2022).

mod config;
mod embedding;
mod transformer;

pub use config::{Heads, UNetConfig};
pub use embedding::{added_vector, timestep_embedding};

use crate::resnet::ResnetBlock;
use crate::{Error, params::Params};
use embedding::TimestepEmbedding;
use latent_tensor::{Around, Conv2d, Device, GroupNorm, Padding, Tensor, ops};
use transformer::{KeysValues, SpatialTransformer, TextKeys};

/// Epsilon of the UNet's group norms.
const EPS: f32 = 1e-5;

/// What steers the predictions of one UNet, as far as it is the same in every step ([`UNet::condition`]).
pub struct Condition {
    /// Of each attention to the text, in the order in which `forward` meets them.
    text: Vec<KeysValues>,
    /// The embedded vector beside the time, `[batch, width]`.
    added: Option<Tensor>,
}

/// A UNet.
pub struct UNet {
    device: Device,
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    add_embedding: Option<TimestepEmbedding>,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl UNet {
    /// Loads a UNet from tensors named as diffusers names them.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &UNetConfig) -> Result<UNet, Error> {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let time_width = 4 * first;
        // Channels of each state that the way down leaves for the way up.
        let mut skips = vec![first];
        let down = |(level, outputs): (usize, &usize)| {
            let inputs = channels[level.saturating_sub(1)];
            skips.extend(std::iter::repeat_n(*outputs, config.layers_per_block));
            if level + 1 < channels.len() {
                skips.push(*outputs);
            }
            DownBlock::load(&params.scope("down_blocks").scope(level), config, level, inputs)
        };
        let down_blocks = channels.iter().enumerate().map(down).collect::<Result<_, _>>()?;
        let mut inputs = last;
        let mut up_blocks = Vec::new();
        for level in (0..channels.len()).rev() {
            let params = params.scope("up_blocks").scope(up_blocks.len());
            up_blocks.push(UpBlock::load(&params, config, level, inputs, &mut skips)?);
            inputs = channels[level];
        }
        let embedding = |name, inputs| TimestepEmbedding::load(&params.scope(name), inputs, time_width);
        Ok(UNet {
            device: params.device().clone(),
            conv_in: params.conv3x3("conv_in", first, config.in_channels)?,
            time_embedding: embedding("time_embedding", first)?,
            add_embedding: config.added_dim.map(|dim| embedding("add_embedding", dim)).transpose()?,
            down_blocks,
            mid_block: MidBlock::load(&params.scope("mid_block"), config, last)?,
            up_blocks,
            conv_norm_out: params.group_norm("conv_norm_out", first, EPS)?,
            conv_out: params.conv3x3("conv_out", config.out_channels, first)?,
        })
    }

    /// Prepares what steers the predictions: the states of the text, `[batch, tokens, cross_attention_dim]`, and the vector
    /// beside the time, `[batch, added_dim]`, of models that have one ([`added_vector`]).
    ///
    /// # Errors
    /// Shapes that do not fit the model; a vector beside the time that is missing, or that the model does not take.
    pub fn condition(&self, text: &Tensor, added: Option<&Tensor>) -> Result<Condition, Error> {
        let down = self
            .down_blocks
            .iter()
            .flat_map(|block| &block.layers)
            .filter_map(|layer| layer.attention.as_ref());
        let up = self
            .up_blocks
            .iter()
            .flat_map(|block| &block.layers)
            .filter_map(|layer| layer.attention.as_ref());
        let text = &text.to(&self.device)?;
        let mut keys_values = Vec::new();
        for attention in down.chain([&self.mid_block.attention]).chain(up) {
            keys_values.extend(attention.keys_values(text)?);
        }
        let added = match (&self.add_embedding, added) {
            (Some(layer), Some(added)) => Some(layer.forward(&added.to(&self.device)?)?),
            (None, None) => None,
            (layer, _) => {
                let reason = match layer {
                    Some(layer) => {
                        format!("this model needs one of {} values beside the time", layer.inputs())
                    }
                    None => "this model takes none".to_owned(),
                };
                return Err(Error::Setting { name: "added vector", reason });
            }
        };
        Ok(Condition { text: keys_values, added })
    }

    /// Predicts from a latent `x` `[batch, height, width, in_channels]`, its `timesteps` (one each, of 0..1000) and
    /// what steers it: `[batch, height, width, out_channels]`, on the UNet's device.
    ///
    /// # Errors
    /// Shapes that do not fit the model, a condition of another one.
    pub fn forward(&self, x: &Tensor, timesteps: &[f32], condition: &Condition) -> Result<Tensor, Error> {
        let x = x.to(&self.device)?;
        let sinusoids = timestep_embedding(timesteps, self.time_embedding.inputs())?.to(&self.device)?;
        let mut time = self.time_embedding.forward(&sinusoids)?;
        if let Some(added) = &condition.added {
            time = ops::add(time, added)?;
        }
        let time = ops::silu(time)?;
        let mut text = condition.text.iter();
        // Every state of the way down, the last of which goes on.
        let mut skips = vec![ops::conv2d(&x, &self.conv_in)?];
        for block in &self.down_blocks {
            let states = block.forward(skips[skips.len() - 1].clone(), &time, &mut text)?;
            skips.extend(states);
        }
        let mut x = self.mid_block.forward(skips[skips.len() - 1].clone(), &time, &mut text)?;
        for block in &self.up_blocks {
            x = block.forward(x, &time, &mut text, &mut skips)?;
        }
        let around = Around { norm_silu: Some(&self.conv_norm_out), ..Around::default() };
        Ok(ops::conv2d_with(&x, &self.conv_out, around)?)
    }
}

/// A residual block and, where the level has attention, a transformer.
struct Layer {
    resnet: ResnetBlock,
    attention: Option<SpatialTransformer>,
}

impl Layer {
    /// Layer `index` of a block at `level`.
    fn load(
        params: &Params<'_>,
        config: &UNetConfig,
        index: usize,
        level: usize,
        inputs: usize,
    ) -> Result<Layer, Error> {
        let outputs = config.block_out_channels[level];
        let time_width = 4 * config.block_out_channels[0];
        let resnet = params.scope("resnets").scope(index);
        let attention = params.scope("attentions").scope(index);
        let depth = config.transformer_depth[level];
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
struct DownBlock {
    layers: Vec<Layer>,
    downsampler: Option<Conv2d>,
}

impl DownBlock {
    fn load(
        params: &Params<'_>,
        config: &UNetConfig,
        level: usize,
        inputs: usize,
    ) -> Result<DownBlock, Error> {
        let outputs = config.block_out_channels[level];
        let layer = |i| Layer::load(params, config, i, level, if i == 0 { inputs } else { outputs });
        let is_last = level + 1 == config.block_out_channels.len();
        let downsampler = || params.conv("downsamplers.0.conv", [outputs, outputs, 3], 2, Padding::all(1));
        Ok(DownBlock {
            layers: (0..config.layers_per_block).map(layer).collect::<Result<_, _>>()?,
            downsampler: (!is_last).then(downsampler).transpose()?,
        })
    }

    /// The states after each layer: the last goes on, all come back on the way up.
    fn forward(&self, mut x: Tensor, time: &Tensor, text: &mut TextKeys<'_>) -> Result<Vec<Tensor>, Error> {
        let mut states = Vec::new();
        for layer in &self.layers {
            x = layer.forward(x, time, text)?;
            states.push(x.clone());
        }
        if let Some(downsampler) = &self.downsampler {
            states.push(ops::conv2d(&x, downsampler)?);
        }
        Ok(states)
    }
}

/// The coarsest level (`UNetMidBlock2DCrossAttn`).
struct MidBlock {
    resnets: [ResnetBlock; 2],
    attention: SpatialTransformer,
}

impl MidBlock {
    fn load(params: &Params<'_>, config: &UNetConfig, channels: usize) -> Result<MidBlock, Error> {
        let time_width = Some(4 * config.block_out_channels[0]);
        let resnet =
            |i| ResnetBlock::load(&params.scope("resnets").scope(i), channels, channels, time_width, EPS);
        let attention = params.scope("attentions.0");
        let (depth, context) = (config.mid_depth, config.cross_attention_dim);
        Ok(MidBlock {
            resnets: [resnet(0)?, resnet(1)?],
            attention: SpatialTransformer::load(&attention, channels, depth, context, config.heads)?,
        })
    }

    fn forward(&self, x: Tensor, time: &Tensor, text: &mut TextKeys<'_>) -> Result<Tensor, Error> {
        let x = self.resnets[0].forward(x, Some(time))?;
        self.resnets[1].forward(self.attention.forward(x, text)?, Some(time))
    }
}

/// A level on the way up (`CrossAttnUpBlock2D`, `UpBlock2D`).
struct UpBlock {
    layers: Vec<Layer>,
    upsampler: Option<Conv2d>,
}

impl UpBlock {
    /// `skips`: channels of the states that the way down left; this level takes its own from the end.
    fn load(
        params: &Params<'_>,
        config: &UNetConfig,
        level: usize,
        inputs: usize,
        skips: &mut Vec<usize>,
    ) -> Result<UpBlock, Error> {
        let outputs = config.block_out_channels[level];
        let layer = |i| {
            let inputs = if i == 0 { inputs } else { outputs };
            Layer::load(params, config, i, level, inputs + skips.pop().unwrap_or(0))
        };
        let upsampler = || params.conv3x3("upsamplers.0.conv", outputs, outputs);
        Ok(UpBlock {
            layers: (0..=config.layers_per_block).map(layer).collect::<Result<_, _>>()?,
            upsampler: (level > 0).then(upsampler).transpose()?,
        })
    }

    /// Takes its states from the end of `skips`.
    fn forward(
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
            x = ops::conv2d_with(
                &x,
                upsampler,
                Around { resize: Some([height, width]), ..Around::default() },
            )?;
        }
        Ok(x)
    }
}
