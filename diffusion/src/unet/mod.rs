//! The network that predicts the noise in a latent (`UNet2DConditionModel`; Ronneberger et al., U-Net, 2015; Rombach
//! et al., Latent Diffusion Models, 2022).

mod blocks;
mod config;
mod deep;
mod embedding;
mod transformer;
mod trunk;

pub use config::{Heads, UNetConfig};
pub use deep::DeepFeatures;
pub use embedding::{added_vector, guidance_embedding, timestep_embedding};
pub use trunk::Condition;
pub(crate) use trunk::{Trunk, skip_channels};

use crate::controlnet::Residuals;
use crate::{Error, params::Params};
use blocks::UpBlock;
use latent_tensor::{Conv2d, Epilogue, GroupNorm, Prologue, Tensor, ops};

/// Epsilon of the UNet's group norms.
const EPS: f32 = 1e-5;

/// A UNet.
pub struct UNet {
    trunk: Trunk,
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
        let first = channels[0];
        let mut skips = skip_channels(config);
        let mut inputs = channels[channels.len() - 1];
        let mut up_blocks = Vec::new();
        for level in (0..channels.len()).rev() {
            let params = params.scope("up_blocks").scope(up_blocks.len());
            up_blocks.push(UpBlock::load(&params, config, level, inputs, &mut skips)?);
            inputs = channels[level];
        }
        Ok(UNet {
            trunk: Trunk::load(params, config)?,
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
        let mut condition = self.trunk.condition(text, added)?;
        let text = &text.to(self.trunk.device())?;
        for block in &self.up_blocks {
            condition.text.extend(block.keys_values(text)?);
        }
        Ok(condition)
    }

    /// Whether it was trained to be told of the guidance (LCM), and needs no second evaluation for it.
    #[must_use]
    pub fn takes_guidance(&self) -> bool {
        self.trunk.takes_guidance()
    }

    /// Adds how strong the guidance is, one for each of the batch. A model that is not told of it ignores it.
    ///
    /// # Errors
    /// Memory.
    pub fn tell_guidance(&self, condition: &mut Condition, guidance: &[f32]) -> Result<(), Error> {
        self.trunk.tell_guidance(condition, guidance)
    }

    /// Predicts from a latent `x` `[batch, height, width, in_channels]`, its `timesteps` (one each, of 0..1000) and
    /// what steers it: `[batch, height, width, out_channels]`, on the UNet's device.
    ///
    /// # Errors
    /// Shapes that do not fit the model, a condition of another one.
    pub fn forward(&self, x: &Tensor, timesteps: &[f32], condition: &Condition) -> Result<Tensor, Error> {
        self.forward_with(x, timesteps, condition, None)
    }

    /// As [`UNet::forward`], with what ControlNets add to the states of the way down and the middle.
    ///
    /// # Errors
    /// As [`UNet::forward`], and residuals of another model or size.
    pub fn forward_with(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &Condition,
        residuals: Option<Residuals>,
    ) -> Result<Tensor, Error> {
        self.run(x, timesteps, condition, residuals, None)
    }

    /// Goes all the way. Where `deep` is, what later steps can take over is left there.
    fn run(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &Condition,
        residuals: Option<Residuals>,
        deep: Option<&mut Option<DeepFeatures>>,
    ) -> Result<Tensor, Error> {
        let x = x.to(self.trunk.device())?;
        let time = self.trunk.time(timesteps, condition)?;
        let mut text = condition.text.iter();
        let (mut skips, mut x) = self.trunk.forward(&x, None, &time, &mut text)?;
        let kept = residuals.as_ref().filter(|_| deep.is_some()).map(|residuals| self.finest_of(residuals));
        if let Some(residuals) = residuals {
            (skips, x) = residuals.add_to(skips, x)?;
        }
        let (finest, coarser) = self.levels_up();
        for block in coarser {
            x = block.forward(x, &time, &mut text, &mut skips)?;
        }
        if let Some(deep) = deep {
            *deep = Some(DeepFeatures { features: x.clone(), residuals: kept.unwrap_or_default() });
        }
        x = finest.forward(x, &time, &mut text, &mut skips)?;
        self.out(&x)
    }

    /// The finest level on the way up, and those before it.
    fn levels_up(&self) -> (&UpBlock, &[UpBlock]) {
        self.up_blocks.split_last().expect("a UNet has levels")
    }

    /// From the finest level to the prediction.
    fn out(&self, x: &Tensor) -> Result<Tensor, Error> {
        let norm = Prologue::norm_silu(&self.conv_norm_out);
        Ok(ops::conv2d_fused(x, &self.conv_out, norm, Epilogue::none())?)
    }
}
