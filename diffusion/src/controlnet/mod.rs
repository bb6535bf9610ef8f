//! ControlNet: an image of lines, depths or poses steers a UNet (Zhang et al., Adding Conditional Control to Text-to-Image
//! Diffusion Models, 2023).
//!
//! The network is a copy of the UNet's way down and middle, trained to see the image beside the latent. Its states pass
//! through 1x1 convolutions that were zero before training (section 3.1), and are added to the UNet's own before its way
//! up. [`ControlFile`] is a file of one, [`ControlNet`] the network, [`Residuals`] what it gives; [`canny`] makes lines of
//! an image, for networks that were trained with those. [`Pipeline::set_controls`](crate::Pipeline::set_controls) draws
//! with them.

mod canny;
mod config;
mod file;
mod hint;
mod residuals;

pub use canny::{Canny, canny};
pub use config::ControlNetConfig;
pub use file::ControlFile;
pub use residuals::Residuals;

use crate::unet::{Condition, Trunk, skip_channels};
use crate::{Error, params::Params};
use hint::HintEmbedding;
use latent_tensor::{Device, Linear, Tensor, ops};

/// A ControlNet (`ControlNetModel`).
pub struct ControlNet {
    trunk: Trunk,
    controlnet_cond_embedding: HintEmbedding,
    controlnet_down_blocks: Vec<Linear>,
    controlnet_mid_block: Linear,
}

impl ControlNet {
    /// Loads a ControlNet from tensors named as diffusers names them.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &ControlNetConfig) -> Result<ControlNet, Error> {
        let channels = &config.unet.block_out_channels;
        let zero_conv =
            |(i, width): (usize, usize)| params.linear(&format!("controlnet_down_blocks.{i}"), width, width);
        let last = channels[channels.len() - 1];
        Ok(ControlNet {
            trunk: Trunk::load(params, &config.unet)?,
            controlnet_cond_embedding: HintEmbedding::load(
                &params.scope("controlnet_cond_embedding"),
                &config.hint_channels,
                channels[0],
            )?,
            controlnet_down_blocks: skip_channels(&config.unet)
                .into_iter()
                .enumerate()
                .map(zero_conv)
                .collect::<Result<_, _>>()?,
            controlnet_mid_block: params.linear("controlnet_mid_block", last, last)?,
        })
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.trunk.device()
    }

    /// As [`UNet::condition`](crate::unet::UNet::condition).
    ///
    /// # Errors
    /// Shapes that do not fit the model; a vector beside the time that is missing, or that the model does not take.
    pub fn condition(&self, text: &Tensor, added: Option<&Tensor>) -> Result<Condition, Error> {
        self.trunk.condition(text, added)
    }

    /// Embeds the image that steers: `[batch, height, width, 3]` of 0..1 to `[batch, height / 8, width / 8, channels]` of
    /// the UNet's first level. It is the same in every step.
    ///
    /// # Errors
    /// An image of other channels.
    pub fn embed(&self, hint: &Tensor) -> Result<Tensor, Error> {
        self.controlnet_cond_embedding.forward(&hint.to(self.device())?)
    }

    /// What is to be added to the states of the UNet, times `strength`, for a latent `x` `[batch, height, width, 4]`, its
    /// `timesteps` (one each), the embedded image, and what steers the network beside it.
    ///
    /// # Errors
    /// Shapes that do not fit the model, a condition of another one.
    pub fn forward(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        hint: &Tensor,
        condition: &Condition,
        strength: f32,
    ) -> Result<Residuals, Error> {
        let x = x.to(self.device())?;
        let time = self.trunk.time(timesteps, condition)?;
        let (states, middle) = self.trunk.forward(&x, Some(hint.clone()), &time, &mut condition.text())?;
        let leave = |state: &Tensor, layer: &Linear| -> Result<Tensor, Error> {
            Ok(ops::scale(ops::linear(state, layer)?, strength)?)
        };
        let states = states.iter().zip(&self.controlnet_down_blocks);
        Ok(Residuals {
            states: states.map(|(state, layer)| leave(state, layer)).collect::<Result<_, _>>()?,
            middle: leave(&middle, &self.controlnet_mid_block)?,
        })
    }
}
