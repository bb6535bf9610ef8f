//! ControlNet: an image of lines, depths or poses conditions a UNet (Zhang et al., Adding Conditional Control to Text-to-Image
//! Diffusion Models, 2023).
//!
//! The network is a copy of the UNet's encoder (its down blocks and mid block), trained to see the image beside the latents.
//! Its hidden states pass through 1x1 convolutions that were zero before training (section 3.1), and are added to the
//! UNet's own before its up blocks. [`ControlFile`] is a file of one, [`ControlNet`] the network, [`ControlNetResiduals`]
//! its output; [`canny`] finds the edges of an image, for networks that were trained with those. [`Pipeline::set_controls`](crate::Pipeline::set_controls) draws
//! with them.

mod canny;
mod config;
mod control_lora;
mod file;
mod hint;
mod lllite;
mod t2i;
mod union;

pub use crate::unet::ControlNetResiduals;
pub use canny::{Canny, canny};
pub use config::ControlNetConfig;
pub(crate) use config::NO_CONTROLS;
pub use control_lora::{ControlLora, ControlLoraConfig};
pub use file::{ControlFile, ControlKind};
pub use lllite::{Lllite, LlliteConfig};
pub use t2i::{T2iAdapter, T2iAdapterConfig};
pub use union::{ControlType, UnionConfig};

use crate::blocks::BlockCount;
use crate::unet::{Condition, UNetEncoder, skip_channels};
use crate::{Error, params::Params};
use hint::HintEmbedding;
use latent_tensor::{Device, Linear, Tensor, ops};
use std::fmt;
use union::UnionLayers;

/// A loaded ControlNet (`ControlNetModel`).
pub struct ControlNet {
    encoder: UNetEncoder,
    controlnet_cond_embedding: HintEmbedding,
    controlnet_down_blocks: Vec<Linear>,
    controlnet_mid_block: Linear,
    union: Option<UnionLayers>,
}

impl fmt::Debug for ControlNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlNet").field("device", self.encoder.device()).finish_non_exhaustive()
    }
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
            encoder: UNetEncoder::load(params, &config.unet)?,
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
            union: config
                .union
                .as_ref()
                .map(|union| UnionLayers::load(params, union, channels[0]))
                .transpose()?,
        })
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.encoder.device()
    }

    /// As [`UNet::condition`](crate::unet::UNet::condition).
    ///
    /// # Errors
    /// Shapes that do not fit the model; an added vector that is missing, or that the model does not take.
    pub fn condition(&self, text: &Tensor, added: Option<&Tensor>) -> Result<Condition, Error> {
        self.encoder.condition(text, added)
    }

    /// Tells a condition the kind of the control image; a network for one kind needs none.
    ///
    /// # Errors
    /// Out of memory.
    pub fn set_type(&self, condition: &mut Condition, kind: ControlType, batch: usize) -> Result<(), Error> {
        match &self.union {
            Some(union) => union.set_type(condition, kind, (batch, self.device())),
            None => Ok(()),
        }
    }

    /// The embedded control image as a network for several kinds sees it; that of a network for one kind stays.
    ///
    /// # Errors
    /// Shapes that do not fit the model.
    pub fn typed_hint(&self, hint: Tensor, kind: Option<ControlType>) -> Result<Tensor, Error> {
        let (Some(union), Some(kind)) = (&self.union, kind) else { return Ok(hint) };
        let shift = union.shift(&hint, kind)?.to(self.device())?;
        Ok(ops::add_per_channel(hint, &shift)?)
    }

    /// Embeds the control image: `[batch, height, width, 3]` of 0..1 to `[batch, height / 8, width / 8, channels]` of
    /// the UNet's first level. The result serves every step.
    ///
    /// # Errors
    /// An image with another number of channels.
    pub fn embed(&self, hint: &Tensor) -> Result<Tensor, Error> {
        self.controlnet_cond_embedding.forward(&hint.to(self.device())?)
    }

    /// The residuals for the UNet, times `strength`, from latents `x` `[batch, height, width, 4]`, their `timesteps` (one
    /// each), the embedded control image and the network's own condition.
    ///
    /// # Errors
    /// Shapes that do not fit the model, a condition of another model.
    pub fn forward(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        hint: &Tensor,
        condition: &Condition,
        strength: f32,
    ) -> Result<ControlNetResiduals, Error> {
        self.forward_counted((x, timesteps), hint, condition, strength, &mut BlockCount::unwatched())
    }

    /// Number of blocks as [`BlockCount`] counts them.
    pub(crate) fn blocks(&self) -> usize {
        self.encoder.blocks()
    }

    /// As [`ControlNet::forward`], with each block reported.
    pub(crate) fn forward_counted(
        &self,
        (x, timesteps): (&Tensor, &[f32]),
        hint: &Tensor,
        condition: &Condition,
        strength: f32,
        count: &mut BlockCount<'_>,
    ) -> Result<ControlNetResiduals, Error> {
        let x = x.to(self.device())?;
        let time = self.encoder.time(timesteps, condition)?;
        let (skips, mid) =
            self.encoder.forward(&x, (Some(hint.clone()), &[]), &time, &mut condition.text(), count)?;
        let residual = |hidden: &Tensor, zero_conv: &Linear| -> Result<Tensor, Error> {
            Ok(ops::scale(ops::linear(hidden, zero_conv)?, strength)?)
        };
        let skips = skips.iter().zip(&self.controlnet_down_blocks);
        Ok(ControlNetResiduals {
            down_blocks: skips.map(|(skip, conv)| residual(skip, conv)).collect::<Result<_, _>>()?,
            mid_block: residual(&mid, &self.controlnet_mid_block)?,
        })
    }
}
