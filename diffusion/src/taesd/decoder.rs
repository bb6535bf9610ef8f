//! From a latent to an image.

use super::block::TinyBlock;
use super::{BLOCKS, RGB, TaesdConfig};
use crate::{Error, params::Params};
use latent_tensor::{Conv2d, Device, Epilogue, Padding, Prologue, Tensor, ops};

/// Latents are clamped to ± this by a hyperbolic tangent.
const MAX_LATENT: f32 = 3.0;

/// The decoder of TAESD (`DecoderTiny`).
pub struct TaesdDecoder {
    device: Device,
    conv_in: Conv2d,
    stages: Vec<DecoderStage>,
}

/// Blocks, and a convolution to the next stage, of twice the size, or to the image.
struct DecoderStage {
    blocks: Vec<TinyBlock>,
    conv: Conv2d,
}

impl TaesdDecoder {
    /// Loads a decoder from tensors named as diffusers names them: `decoder.layers.N`, where activations and resizes
    /// count as layers.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &TaesdConfig) -> Result<TaesdDecoder, Error> {
        let layers = params.scope("decoder.layers");
        let channels = config.channels;
        let mut next = 2;
        let mut stages = Vec::new();
        for (stage, count) in BLOCKS.into_iter().enumerate() {
            let blocks = TinyBlock::load_all(&layers, next, count, channels)?;
            next += count;
            let conv = if stage + 1 == BLOCKS.len() {
                layers.conv3x3(&next.to_string(), RGB, channels)?
            } else {
                // The resize is a layer too.
                next += 1;
                layers.conv_without_bias(&next.to_string(), [channels, channels, 3], 1, Padding::all(1))?
            };
            next += 1;
            stages.push(DecoderStage { blocks, conv });
        }
        Ok(TaesdDecoder {
            device: params.device().clone(),
            conv_in: layers.conv3x3("0", channels, config.latent_channels)?,
            stages,
        })
    }

    /// The device on which it decodes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A latent of unit variance `[batch, height, width, latent]` to an image `[batch, 8 height, 8 width, 3]`, about
    /// -1..1, in main memory.
    ///
    /// # Errors
    /// A latent of other channels.
    pub fn decode(&self, latent: &Tensor) -> Result<Tensor, Error> {
        let latent = each(latent, |v| (v / MAX_LATENT).tanh() * MAX_LATENT)?;
        let mut x = ops::relu(ops::conv2d(&latent.to(&self.device)?, &self.conv_in)?)?;
        for (stage, DecoderStage { blocks, conv }) in self.stages.iter().enumerate() {
            for block in blocks {
                x = block.forward(x)?;
            }
            let is_last = stage + 1 == self.stages.len();
            let resize = (!is_last).then(|| [2 * x.dims()[1], 2 * x.dims()[2]]);
            x = ops::conv2d_fused(&x, conv, Prologue::resize(resize), Epilogue::none())?;
        }
        each(&x, |v| 2.0 * v - 1.0)
    }
}

impl std::fmt::Debug for TaesdDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaesdDecoder").field("device", &self.device).finish_non_exhaustive()
    }
}

/// A function of each value, in main memory.
pub(super) fn each(x: &Tensor, f: impl Fn(f32) -> f32) -> Result<Tensor, Error> {
    let x = x.to(&Device::Cpu)?;
    Ok(Tensor::from_f32(x.dims(), &x.f32s()?.iter().map(|v| f(*v)).collect::<Vec<_>>())?)
}
