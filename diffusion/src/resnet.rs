//! The residual block of UNet and VAE.

mod bands;

pub(crate) use bands::{BandStream, InPlace};

use crate::{Error, params::Params};
use latent_tensor::{Conv2d, Epilogue, GroupNorm, Linear, Prologue, Tensor, ops};

/// `x + conv(silu(norm(conv(silu(norm(x))) + time)))` (`ResnetBlock2D`; He et al. 2016, with the time embedding of
/// Ho et al. 2020).
pub(crate) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Linear>,
}

impl ResnetBlock {
    /// `time_width`: width of the time embedding; `None` in a VAE.
    pub(crate) fn load(
        params: &Params<'_>,
        inputs: usize,
        outputs: usize,
        time_width: Option<usize>,
        eps: f32,
    ) -> Result<ResnetBlock, Error> {
        let time_emb_proj =
            time_width.map(|width| params.exact().linear("time_emb_proj", outputs, width)).transpose()?;
        let shortcut = inputs != outputs;
        Ok(ResnetBlock {
            norm1: params.group_norm("norm1", inputs, eps)?,
            conv1: params.conv3x3("conv1", outputs, inputs)?,
            time_emb_proj,
            norm2: params.group_norm("norm2", outputs, eps)?,
            conv2: params.conv3x3("conv2", outputs, outputs)?,
            conv_shortcut: shortcut.then(|| params.linear("conv_shortcut", outputs, inputs)).transpose()?,
        })
    }

    /// `x` `[batch, height, width, inputs]` to `[.., outputs]`; `time`, the time embedding after SiLU, `[batch, width]`.
    pub(crate) fn forward(&self, x: Tensor, time: Option<&Tensor>) -> Result<Tensor, Error> {
        let time = match (&self.time_emb_proj, time) {
            (Some(layer), Some(time)) => Some(ops::linear(time, layer)?),
            _ => None,
        };
        let vector = Epilogue::vector(time.as_ref());
        let hidden = ops::conv2d_fused(&x, &self.conv1, Prologue::norm_silu(&self.norm1), vector)?;
        // This is where the largest tensor of a VAE is freed.
        let residual = match &self.conv_shortcut {
            Some(layer) => ops::linear_in_place(x, layer)?,
            None => x,
        };
        let residual = Epilogue::residual(residual);
        Ok(ops::conv2d_fused(&hidden, &self.conv2, Prologue::norm_silu(&self.norm2), residual)?)
    }
}
