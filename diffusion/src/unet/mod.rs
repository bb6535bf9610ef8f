//! The network that predicts the noise in a latent (`UNet2DConditionModel`; Ronneberger et al., U-Net, 2015; Rombach
//! et al., Latent Diffusion Models, 2022).

mod blocks;
mod config;
mod deep_cache;
mod embedding;
mod encoder;
mod lllite;
mod residuals;
mod transformer;

pub use config::{Heads, UNetConfig};
pub use deep_cache::{DeepCache, DeepFeatures};
pub(crate) use embedding::TimestepEmbedding;
pub use embedding::{added_vector, guidance_embedding, timestep_embedding};
pub use encoder::Condition;
pub(crate) use encoder::{UNetEncoder, skip_channels};
pub use lllite::{LlliteBlock, SteeredProjection};
pub(crate) use lllite::{LlliteLayers, LlliteModule, transformer_places};
pub use residuals::{ControlNetResiduals, UNetAdditions};

use crate::blocks::BlockCount;
use crate::{Error, params::Params};
use blocks::CrossAttnUpBlock;
use encoder::ImagePromptKeys;
use latent_tensor::{Conv2d, Device, Epilogue, GroupNorm, Prologue, Tensor, ops};
use lllite::LlliteInput;
use std::fmt;
use transformer::KeysValues;

/// Epsilon of the UNet's group norms.
const EPS: f32 = 1e-5;

/// A loaded UNet.
pub struct UNet {
    encoder: UNetEncoder,
    up_blocks: Vec<CrossAttnUpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl fmt::Debug for UNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UNet").field("device", self.encoder.device()).finish_non_exhaustive()
    }
}

impl UNet {
    /// Loads a UNet from tensors named as diffusers names them.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &UNetConfig) -> Result<UNet, Error> {
        let channels = &config.block_out_channels;
        let first = channels[0];
        let mut skips = skip_channels(config);
        let mut inputs = channels[channels.len() - 1];
        let mut up_blocks = Vec::new();
        for level in (0..channels.len()).rev() {
            let params = params.scope("up_blocks").scope(up_blocks.len());
            up_blocks.push(CrossAttnUpBlock::load(&params, config, level, inputs, &mut skips)?);
            inputs = channels[level];
        }
        Ok(UNet {
            encoder: UNetEncoder::load(params, config)?,
            up_blocks,
            conv_norm_out: params.group_norm("conv_norm_out", first, EPS)?,
            conv_out: params.exact().conv3x3("conv_out", config.out_channels, first)?,
        })
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.encoder.device()
    }

    /// Computes once what conditions every prediction: from the hidden states of the text,
    /// `[batch, tokens, cross_attention_dim]`, the keys and values of each cross-attention; from the added vector,
    /// `[batch, added_dim]`, of models that take one ([`added_vector`]), its embedding.
    ///
    /// # Errors
    /// Shapes that do not fit the model; an added vector that is missing, or that the model does not take.
    pub fn condition(&self, text: &Tensor, added: Option<&Tensor>) -> Result<Condition, Error> {
        let mut condition = self.encoder.condition(text, added)?;
        let text = &text.to(self.encoder.device())?;
        for block in &self.up_blocks {
            condition.text.extend(block.keys_values(text)?);
        }
        Ok(condition)
    }

    /// Adds an image prompt to a condition: keys and values, each `[batch, tokens, channels]`, to which the cross-attentions
    /// attend beside the text. They are in the order of an IP-Adapter: down blocks, up blocks, mid block.
    ///
    /// # Errors
    /// An adapter of another model.
    pub fn add_image_prompt(
        &self,
        condition: &mut Condition,
        keys_values: Vec<[Tensor; 2]>,
        strength: f32,
    ) -> Result<(), Error> {
        let mut keys_values: Vec<KeysValues> = keys_values.into_iter().map(KeysValues::new).collect();
        let mid = self.encoder.mid_text_keys();
        let after_down = mid + self.up_blocks.iter().map(CrossAttnUpBlock::text_keys).sum::<usize>();
        let (count, all) = (keys_values.len(), condition.text.len());
        if count != all || after_down > all {
            let reason = format!("{count} cross-attentions of an IP-Adapter for a UNet of {all}");
            return Err(Error::setting(crate::Setting::Condition, reason));
        }
        // An adapter's mid block is behind its up blocks.
        keys_values[all - after_down..].rotate_right(mid);
        condition.add_image_prompt(ImagePromptKeys { keys_values, strength, acts: true });
        Ok(())
    }

    /// Adds a ControlNet-LLLite to a condition: what it adds in each transformer block, in the order in which they run.
    ///
    /// # Errors
    /// One of another model.
    pub fn add_lllite(
        &self,
        condition: &mut Condition,
        blocks: Vec<LlliteBlock>,
        strength: f32,
    ) -> Result<(), Error> {
        let own = self.encoder.transformer_blocks()
            + self.up_blocks.iter().map(CrossAttnUpBlock::transformer_blocks).sum::<usize>();
        if blocks.len() != own {
            let reason =
                format!("{} transformer blocks of a ControlNet-LLLite for a UNet of {own}", blocks.len());
            return Err(Error::setting(crate::Setting::Condition, reason));
        }
        condition.add_lllite(LlliteInput { blocks, strength, acts: true });
        Ok(())
    }

    /// Whether the model takes the guidance scale as an input (LCM), and needs no second evaluation for it.
    #[must_use]
    pub fn takes_guidance(&self) -> bool {
        self.encoder.takes_guidance()
    }

    /// Adds the guidance scale, one for each image of the batch. A model that does not take it ignores it.
    ///
    /// # Errors
    /// Out of memory.
    pub fn set_guidance(&self, condition: &mut Condition, guidance: &[f32]) -> Result<(), Error> {
        self.encoder.set_guidance(condition, guidance)
    }

    /// Predicts from latents `x` `[batch, height, width, in_channels]`, their `timesteps` (one each, of 0..1000) and the
    /// condition: `[batch, height, width, out_channels]`, on the UNet's device.
    ///
    /// # Errors
    /// Shapes that do not fit the model, a condition of another model.
    pub fn forward(&self, x: &Tensor, timesteps: &[f32], condition: &Condition) -> Result<Tensor, Error> {
        self.forward_with(x, timesteps, condition, None, DeepCache::Off)
    }

    /// The hidden states after each block, `[batch, height, width, channels]`, as [`BlockCount`] counts them, and the
    /// prediction last: to compare precisions or programs block by block. Arguments are those of [`UNet::forward`].
    ///
    /// # Errors
    /// As [`UNet::forward`].
    pub fn hidden_states(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &Condition,
    ) -> Result<Vec<Tensor>, Error> {
        let mut states = Vec::with_capacity(self.blocks() + 1);
        let count = &mut BlockCount::keeping(&mut states);
        let prediction =
            self.forward_counted(x, timesteps, condition, (UNetAdditions::default(), DeepCache::Off), count)?;
        states.push(prediction);
        Ok(states)
    }

    /// As [`UNet::forward`], with `residuals` of ControlNets; `cache` says which hidden states to keep for later steps, or
    /// to reuse. A pass that reuses hidden states also reuses the residuals of the pass that kept them, and ignores
    /// `residuals`.
    ///
    /// # Errors
    /// As [`UNet::forward`], and residuals or kept hidden states of another model or size.
    pub fn forward_with(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &Condition,
        residuals: Option<ControlNetResiduals>,
        cache: DeepCache<'_>,
    ) -> Result<Tensor, Error> {
        let count = &mut BlockCount::unwatched();
        let additions = UNetAdditions { residuals, features: Vec::new() };
        self.forward_counted(x, timesteps, condition, (additions, cache), count)
    }

    /// As [`UNet::forward`], with all that other networks add.
    ///
    /// # Errors
    /// As [`UNet::forward_with`].
    pub fn forward_added(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &Condition,
        additions: UNetAdditions,
    ) -> Result<Tensor, Error> {
        let count = &mut BlockCount::unwatched();
        self.forward_counted(x, timesteps, condition, (additions, DeepCache::Off), count)
    }

    /// Number of blocks as [`BlockCount`] counts them: 25 of Stable Diffusion 1.x, as its authors number them.
    pub(crate) fn blocks(&self) -> usize {
        self.encoder.blocks() + self.up_blocks.iter().map(CrossAttnUpBlock::layers).sum::<usize>()
    }

    /// As [`UNet::forward_with`], with each block reported.
    pub(crate) fn forward_counted(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &Condition,
        (UNetAdditions { residuals, features }, cache): (UNetAdditions, DeepCache<'_>),
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        let x = x.to(self.encoder.device())?;
        let time = self.encoder.time(timesteps, condition)?;
        let keep = match cache {
            DeepCache::Reuse(deep) => return self.forward_finest(&x, &time, condition, deep, count),
            DeepCache::Keep(keep) => Some(keep),
            DeepCache::Off => None,
        };
        let mut text = condition.text();
        let (mut skips, mut x) = self.encoder.forward(&x, (None, &features), &time, &mut text, count)?;
        let finest_residuals = residuals.as_ref().filter(|_| keep.is_some()).map(|all| self.finest_of(all));
        if let Some(residuals) = residuals {
            (skips, x) = residuals.add_to(skips, x)?;
        }
        let (finest, coarser) = self.finest_up_block();
        for block in coarser {
            x = block.forward(x, &time, &mut text, &mut skips, count)?;
        }
        if let Some(keep) = keep {
            *keep = Some(DeepFeatures {
                features: x.clone(),
                residuals: finest_residuals.unwrap_or_default(),
                adapter: features.into_iter().next(),
            });
        }
        x = finest.forward(x, &time, &mut text, &mut skips, count)?;
        self.out(&x)
    }

    /// The up block of the finest level, and those before it.
    fn finest_up_block(&self) -> (&CrossAttnUpBlock, &[CrossAttnUpBlock]) {
        self.up_blocks.split_last().expect("a UNet has levels")
    }

    /// From the finest level to the prediction.
    fn out(&self, x: &Tensor) -> Result<Tensor, Error> {
        let norm = Prologue::norm_silu(&self.conv_norm_out);
        Ok(ops::conv2d_fused(x, &self.conv_out, norm, Epilogue::none())?)
    }
}
