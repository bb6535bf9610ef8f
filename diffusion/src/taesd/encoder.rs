//! From an image to a latent.

use super::block::TinyBlock;
use super::decoder::each;
use super::{BLOCKS, RGB, TaesdConfig};
use crate::{Error, params::Params};
use latent_tensor::{Conv2d, Device, Padding, Tensor, ops};

/// The encoder of TAESD (`EncoderTiny`).
pub struct TaesdEncoder {
    device: Device,
    stages: Vec<EncoderStage>,
    conv_out: Conv2d,
}

/// A convolution from the image or to half the size, and blocks.
struct EncoderStage {
    conv: Conv2d,
    blocks: Vec<TinyBlock>,
}

impl TaesdEncoder {
    /// Loads an encoder from tensors named as diffusers names them: `encoder.layers.N`.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &TaesdConfig) -> Result<TaesdEncoder, Error> {
        let layers = params.scope("encoder.layers");
        let channels = config.channels;
        let mut next = 0;
        let mut stages = Vec::new();
        for (stage, count) in BLOCKS.into_iter().rev().enumerate() {
            let conv = if stage == 0 {
                layers.conv3x3("0", channels, RGB)?
            } else {
                layers.conv_without_bias(&next.to_string(), [channels, channels, 3], 2, Padding::all(1))?
            };
            stages.push(EncoderStage {
                conv,
                blocks: TinyBlock::load_all(&layers, next + 1, count, channels)?,
            });
            next += 1 + count;
        }
        Ok(TaesdEncoder {
            device: params.device().clone(),
            stages,
            conv_out: layers.conv3x3(&next.to_string(), config.latent_channels, channels)?,
        })
    }

    /// The device on which it encodes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// An image `[batch, height, width, 3]` of -1..1 to a latent of unit variance `[batch, height / 8, width / 8, latent]`,
    /// in main memory.
    ///
    /// # Errors
    /// An image that is not RGB.
    pub fn encode(&self, image: &Tensor) -> Result<Tensor, Error> {
        let mut x = each(image, |v| (v + 1.0) / 2.0)?.to(&self.device)?;
        for EncoderStage { conv, blocks } in &self.stages {
            x = ops::conv2d(&x, conv)?;
            for block in blocks {
                x = block.forward(x)?;
            }
        }
        Ok(ops::conv2d(&x, &self.conv_out)?.to(&Device::Cpu)?)
    }
}

impl std::fmt::Debug for TaesdEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaesdEncoder").field("device", &self.device).finish_non_exhaustive()
    }
}
