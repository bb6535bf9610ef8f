//! The way down and the middle: the part of a UNet that a ControlNet is a copy of.

use super::blocks::{DownBlock, MidBlock};
use super::config::UNetConfig;
use super::embedding::{TimestepEmbedding, guidance_embedding, timestep_embedding};
use super::transformer::{KeysValues, TextKeys};
use crate::{Error, params::Params};
use latent_tensor::{Around, Conv2d, Device, Tensor, ops};

/// What steers the predictions of one network, as far as it is the same in every step ([`UNet::condition`](super::UNet)).
pub struct Condition {
    /// Of each attention to the text, in the order in which `forward` meets them.
    pub(super) text: Vec<KeysValues>,
    /// The embedded vector beside the time, `[batch, width]`.
    added: Option<Tensor>,
    /// The embedded guidance, `[batch, channels of the sinusoids]`.
    guidance: Option<Tensor>,
}

impl Condition {
    /// Keys and values of the text for the attentions of the way down, and of the middle after them.
    pub(crate) fn text(&self) -> TextKeys<'_> {
        self.text.iter()
    }
}

/// The way down and the middle, with the embeddings of time and added vector.
pub(crate) struct Trunk {
    device: Device,
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    add_embedding: Option<TimestepEmbedding>,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
}

/// Channels of each state that the way down leaves for the way up.
pub(crate) fn skip_channels(config: &UNetConfig) -> Vec<usize> {
    let channels = &config.block_out_channels;
    let mut skips = vec![channels[0]];
    for (level, outputs) in channels.iter().enumerate() {
        let downsampled = usize::from(level + 1 < channels.len());
        skips.extend(std::iter::repeat_n(*outputs, config.layers_per_block + downsampled));
    }
    skips
}

impl Trunk {
    pub(crate) fn load(params: &Params<'_>, config: &UNetConfig) -> Result<Trunk, Error> {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let down = |level: usize| {
            let inputs = channels[level.saturating_sub(1)];
            DownBlock::load(&params.scope("down_blocks").scope(level), config, level, inputs)
        };
        let embedding =
            |name, inputs, cond| TimestepEmbedding::load(&params.scope(name), inputs, 4 * first, cond);
        Ok(Trunk {
            device: params.device().clone(),
            conv_in: params.conv3x3("conv_in", first, config.in_channels)?,
            time_embedding: embedding("time_embedding", first, config.time_cond_proj_dim)?,
            add_embedding: config.added_dim.map(|dim| embedding("add_embedding", dim, None)).transpose()?,
            down_blocks: (0..channels.len()).map(down).collect::<Result<_, _>>()?,
            mid_block: MidBlock::load(&params.scope("mid_block"), config, last)?,
        })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// As [`UNet::condition`](super::UNet::condition), for the attentions that are here.
    pub(crate) fn condition(&self, text: &Tensor, added: Option<&Tensor>) -> Result<Condition, Error> {
        let text = &text.to(&self.device)?;
        let mut keys_values = Vec::new();
        for block in &self.down_blocks {
            keys_values.extend(block.keys_values(text)?);
        }
        keys_values.extend(self.mid_block.keys_values(text)?);
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
                return Err(Error::setting(crate::Setting::AddedVector, reason));
            }
        };
        Ok(Condition { text: keys_values, added, guidance: None })
    }

    pub(super) fn takes_guidance(&self) -> bool {
        self.time_embedding.cond_proj().is_some()
    }

    pub(super) fn tell_guidance(&self, condition: &mut Condition, guidance: &[f32]) -> Result<(), Error> {
        if let Some(layer) = self.time_embedding.cond_proj() {
            let sinusoids = guidance_embedding(guidance, layer.inputs())?.to(&self.device)?;
            condition.guidance = Some(ops::linear(&sinusoids, layer)?);
        }
        Ok(())
    }

    /// The embedding of the time steps and of what is beside them, after SiLU: `[batch, width]`.
    pub(crate) fn time(&self, timesteps: &[f32], condition: &Condition) -> Result<Tensor, Error> {
        let mut sinusoids = timestep_embedding(timesteps, self.time_embedding.inputs())?.to(&self.device)?;
        if let Some(guidance) = &condition.guidance {
            sinusoids = ops::add(sinusoids, guidance)?;
        }
        let mut time = self.time_embedding.forward(&sinusoids)?;
        if let Some(added) = &condition.added {
            time = ops::add(time, added)?;
        }
        Ok(ops::silu(time)?)
    }

    /// The states of the finest level on the way down.
    pub(super) fn forward_finest(
        &self,
        x: &Tensor,
        time: &Tensor,
        text: &mut TextKeys<'_>,
    ) -> Result<Vec<Tensor>, Error> {
        let mut states = vec![ops::conv2d(x, &self.conv_in)?];
        states.extend(self.down_blocks[0].forward_layers(states[0].clone(), time, text)?);
        Ok(states)
    }

    /// Every state of the way down, finest first, and the middle's. `hint` is added to the first of them.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        hint: Option<Tensor>,
        time: &Tensor,
        text: &mut TextKeys<'_>,
    ) -> Result<(Vec<Tensor>, Tensor), Error> {
        let around = Around { residual: hint, ..Around::default() };
        // The last state goes on.
        let mut states = vec![ops::conv2d_with(x, &self.conv_in, around)?];
        for block in &self.down_blocks {
            states.extend(block.forward(states[states.len() - 1].clone(), time, text)?);
        }
        let middle = self.mid_block.forward(states[states.len() - 1].clone(), time, text)?;
        Ok((states, middle))
    }
}
