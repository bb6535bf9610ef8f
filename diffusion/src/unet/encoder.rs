//! The encoder of a UNet, its down blocks and mid block: the part that a ControlNet is a copy of.

use super::blocks::{CrossAttnDownBlock, UNetMidBlock};
use super::config::UNetConfig;
use super::embedding::{TimestepEmbedding, guidance_embedding, timestep_embedding};
use super::lllite::LlliteInput;
use super::transformer::{KeysValues, TextKeys};
use crate::blocks::BlockCount;
use crate::{Error, params::Params};
use latent_tensor::{Conv2d, Device, Epilogue, Prologue, Tensor, ops};
use std::fmt;

/// What conditions the predictions of one network and is the same in every step ([`UNet::condition`](super::UNet::condition)).
pub struct Condition {
    /// Keys and values of the text for each cross-attention, in the order in which `forward` uses them.
    pub(super) text: Vec<KeysValues>,
    /// The embedding of the added vector, `[batch, width]`.
    added: Option<Tensor>,
    /// The embedding of the guidance scale, `[batch, channels of the sinusoids]`.
    guidance: Option<Tensor>,
    /// The part of the tokens that the self-attentions of the finest level with attention merge.
    token_merging: f64,
    /// Whether the self-attentions of the mid block are perturbed.
    is_perturbed: bool,
    /// Beside the text.
    image_prompts: Vec<ImagePromptKeys>,
    lllites: Vec<LlliteInput>,
}

/// An image prompt (IP-Adapter) for all cross-attentions, in the order of [`Condition::text`].
pub(crate) struct ImagePromptKeys {
    pub(super) keys_values: Vec<KeysValues>,
    pub(super) strength: f32,
    /// Whether it acts in the current step.
    pub(super) acts: bool,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("cross_attentions", &self.text.len()).finish_non_exhaustive()
    }
}

impl Condition {
    /// Sets the part of the tokens, from 0 (none) to 0.5, that are merged with others in the self-attentions of the finest
    /// level with attention (Bolya and Hoffman, Token Merging for Fast Stable Diffusion, 2023). A network on a GPU then
    /// fails.
    pub fn set_token_merging(&mut self, ratio: f64) {
        self.token_merging = ratio;
    }

    /// Sets whether each position of the mid block attends to itself alone (Ahn et al., Self-Rectifying Diffusion Sampling with
    /// Perturbed-Attention Guidance, 2024, section 4.2).
    pub fn set_perturbed(&mut self, is_perturbed: bool) {
        self.is_perturbed = is_perturbed;
    }

    /// Keys and values of the text for the cross-attentions of the down blocks, then those of the mid block, then those of
    /// the up blocks.
    pub(crate) fn text(&self) -> TextKeys<'_> {
        self.text_from(0, 0)
    }

    /// Those of the last cross-attentions, as many as are given, which are in so many transformer blocks.
    pub(super) fn text_of_last(&self, cross_attentions: usize, blocks: usize) -> TextKeys<'_> {
        let first_block = |input: &LlliteInput| input.blocks.len().saturating_sub(blocks);
        let first = self.text.len().saturating_sub(cross_attentions);
        self.text_from(first, self.lllites.first().map_or(0, first_block))
    }

    /// Those of the cross-attentions from one on, or none, and of the transformer blocks from one on.
    fn text_from(&self, first: usize, block: usize) -> TextKeys<'_> {
        let text = self.text.get(first..).unwrap_or_default();
        let mut keys = TextKeys::new(text, self.token_merging, self.is_perturbed);
        for prompt in self.image_prompts.iter().filter(|prompt| prompt.acts) {
            keys =
                keys.with_image_prompt(prompt.strength, prompt.keys_values.get(first..).unwrap_or_default());
        }
        for input in self.lllites.iter().filter(|input| input.acts) {
            keys = keys.with_lllite(input.strength, input.blocks.get(block..).unwrap_or_default());
        }
        keys
    }

    /// Adds an embedding `[batch, width]` to that of the time step.
    pub(crate) fn add_to_time(&mut self, embedding: &Tensor) -> Result<(), Error> {
        self.added = Some(match self.added.take() {
            Some(added) => ops::add(added, embedding)?,
            None => embedding.clone(),
        });
        Ok(())
    }

    /// Adds an image prompt, which acts.
    pub(super) fn add_image_prompt(&mut self, prompt: ImagePromptKeys) {
        self.image_prompts.push(prompt);
    }

    /// Adds a ControlNet-LLLite, which acts.
    pub(super) fn add_lllite(&mut self, input: LlliteInput) {
        self.lllites.push(input);
    }

    /// Which of the ControlNet-LLLites act from now on, in the order in which they were added.
    pub(crate) fn set_lllites_acting(&mut self, acting: impl Iterator<Item = bool>) {
        self.lllites.iter_mut().zip(acting).for_each(|(input, acts)| input.acts = acts);
    }

    /// Which of the image prompts act from now on, in the order in which they were added.
    pub(crate) fn set_acting(&mut self, acting: &[bool]) {
        self.image_prompts.iter_mut().zip(acting).for_each(|(prompt, acts)| prompt.acts = *acts);
    }
}

/// Down blocks and mid block, with the embeddings of the timestep and of the added vector.
pub(crate) struct UNetEncoder {
    device: Device,
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    add_embedding: Option<TimestepEmbedding>,
    down_blocks: Vec<CrossAttnDownBlock>,
    mid_block: UNetMidBlock,
}

/// Channels of each skip connection from the down blocks to the up blocks.
pub(crate) fn skip_channels(config: &UNetConfig) -> Vec<usize> {
    let channels = &config.block_out_channels;
    let mut skips = vec![channels[0]];
    for (level, outputs) in channels.iter().enumerate() {
        let downsampled = usize::from(level + 1 < channels.len());
        skips.extend(std::iter::repeat_n(*outputs, config.layers_per_block + downsampled));
    }
    skips
}

impl UNetEncoder {
    pub(crate) fn load(params: &Params<'_>, config: &UNetConfig) -> Result<UNetEncoder, Error> {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let down = |level: usize| {
            let inputs = channels[level.saturating_sub(1)];
            CrossAttnDownBlock::load(&params.scope("down_blocks").scope(level), config, level, inputs)
        };
        let embedding = |name, inputs, cond| {
            TimestepEmbedding::load(&params.exact().scope(name), inputs, 4 * first, cond)
        };
        Ok(UNetEncoder {
            device: params.device().clone(),
            conv_in: params.exact().conv3x3("conv_in", first, config.in_channels)?,
            time_embedding: embedding("time_embedding", first, config.time_cond_proj_dim)?,
            add_embedding: config.added_dim.map(|dim| embedding("add_embedding", dim, None)).transpose()?,
            down_blocks: (0..channels.len()).map(down).collect::<Result<_, _>>()?,
            mid_block: UNetMidBlock::load(&params.scope("mid_block"), config, last)?,
        })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// As [`UNet::condition`](super::UNet::condition), for the cross-attentions of the encoder.
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
                        format!("this model needs an added vector of {} values", layer.inputs())
                    }
                    None => "this model does not take one".to_owned(),
                };
                return Err(Error::setting(crate::Setting::AddedVector, reason));
            }
        };
        Ok(Condition {
            text: keys_values,
            added,
            guidance: None,
            token_merging: 0.0,
            is_perturbed: false,
            image_prompts: Vec::new(),
            lllites: Vec::new(),
        })
    }

    pub(super) fn takes_guidance(&self) -> bool {
        self.time_embedding.cond_proj().is_some()
    }

    pub(super) fn set_guidance(&self, condition: &mut Condition, guidance: &[f32]) -> Result<(), Error> {
        if let Some(layer) = self.time_embedding.cond_proj() {
            let sinusoids = guidance_embedding(guidance, layer.inputs())?.to(&self.device)?;
            condition.guidance = Some(ops::linear(&sinusoids, layer)?);
        }
        Ok(())
    }

    /// The embedding of the timesteps, with those of the guidance and the added vector, after SiLU: `[batch, width]`.
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

    /// Number of cross-attentions of the mid block.
    pub(super) fn mid_text_keys(&self) -> usize {
        self.mid_block.text_keys()
    }

    /// Number of transformer blocks.
    pub(super) fn transformer_blocks(&self) -> usize {
        let down = self.down_blocks.iter().map(CrossAttnDownBlock::transformer_blocks);
        down.sum::<usize>() + self.mid_block.transformer_blocks()
    }

    /// Number of blocks as [`BlockCount`] counts them: the first convolution, each layer and downsampler, the mid block.
    pub(crate) fn blocks(&self) -> usize {
        2 + self.down_blocks.iter().map(CrossAttnDownBlock::blocks).sum::<usize>()
    }

    /// Number of blocks of [`UNetEncoder::forward_finest`].
    pub(super) fn finest_blocks(&self) -> usize {
        1 + self.down_blocks[0].layers()
    }

    /// The skip connections of the finest level.
    pub(super) fn forward_finest(
        &self,
        x: &Tensor,
        feature: Option<&Tensor>,
        time: &Tensor,
        text: &mut TextKeys<'_>,
        count: &mut BlockCount<'_>,
    ) -> Result<Vec<Tensor>, Error> {
        let mut skips = vec![ops::conv2d(x, &self.conv_in)?];
        count.add()?;
        skips.extend(self.down_blocks[0].forward_layers((skips[0].clone(), feature), time, text, count)?);
        Ok(skips)
    }

    /// The skip connections of all down blocks, finest first, and the output of the mid block. `hint` is added to the first
    /// skip connection, a feature of T2I-Adapters to each level, and one more to the mid block.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        (hint, features): (Option<Tensor>, &[Tensor]),
        time: &Tensor,
        text: &mut TextKeys<'_>,
        count: &mut BlockCount<'_>,
    ) -> Result<(Vec<Tensor>, Tensor), Error> {
        let hint = Epilogue { residual: hint, ..Epilogue::none() };
        // The last one is the input of the next block.
        let mut skips = vec![ops::conv2d_fused(x, &self.conv_in, Prologue::none(), hint)?];
        count.add_hidden(&skips[0])?;
        for (level, block) in self.down_blocks.iter().enumerate() {
            let x = (skips[skips.len() - 1].clone(), features.get(level));
            skips.extend(block.forward(x, time, text, count)?);
        }
        let mut mid = self.mid_block.forward(skips[skips.len() - 1].clone(), time, text)?;
        if let Some(feature) = features.get(self.down_blocks.len()) {
            mid = ops::add(mid, feature)?;
        }
        count.add_hidden(&mid)?;
        Ok((skips, mid))
    }
}
