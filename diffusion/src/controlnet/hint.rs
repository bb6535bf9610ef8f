//! From the control image to the first level of the network.

use crate::{Error, params::Params};
use latent_tensor::{Conv2d, Padding, Tensor, ops};

/// Convolutions with SiLU between them, every other one of half the size (`ControlNetConditioningEmbedding`; section 3.2
/// of the paper).
pub(super) struct HintEmbedding {
    conv_in: Conv2d,
    blocks: Vec<Conv2d>,
    conv_out: Conv2d,
}

impl HintEmbedding {
    /// `channels` of the image, of the first convolution and of each block; the last gives `outputs`.
    pub(super) fn load(
        params: &Params<'_>,
        channels: &[usize],
        outputs: usize,
    ) -> Result<HintEmbedding, Error> {
        let conv = |name: &str, from: usize, to: usize, stride: usize| {
            params.conv(name, [to, from, 3], stride, Padding::all(1))
        };
        let block = |(i, pair): (usize, &[usize])| {
            conv(&format!("blocks.{i}"), pair[0], pair[1], if i % 2 == 1 { 2 } else { 1 })
        };
        Ok(HintEmbedding {
            conv_in: conv("conv_in", channels[0], channels[1], 1)?,
            blocks: channels[1..].windows(2).enumerate().map(block).collect::<Result<_, _>>()?,
            conv_out: conv("conv_out", channels[channels.len() - 1], outputs, 1)?,
        })
    }

    /// `[batch, height, width, 3]` to `[batch, height / 8, width / 8, outputs]`.
    pub(super) fn forward(&self, hint: &Tensor) -> Result<Tensor, Error> {
        let mut x = ops::silu(ops::conv2d(hint, &self.conv_in)?)?;
        for block in &self.blocks {
            x = ops::silu(ops::conv2d(&x, block)?)?;
        }
        Ok(ops::conv2d(&x, &self.conv_out)?)
    }
}
