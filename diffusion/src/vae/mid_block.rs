//! The coarsest level of encoder and decoder.

use super::EPS;
use crate::resnet::ResnetBlock;
use crate::{Error, params::Params};
use latent_tensor::{GroupNorm, Linear, Precision, Tensor, ops};

/// A residual block, attention, and a residual block (`UNetMidBlock2D`).
pub(super) struct VaeMidBlock {
    resnets: [ResnetBlock; 2],
    attention: PixelAttention,
}

impl VaeMidBlock {
    pub(super) fn load(params: &Params<'_>, channels: usize) -> Result<VaeMidBlock, Error> {
        let resnet = |i| ResnetBlock::load(&params.scope("resnets").scope(i), channels, channels, None, EPS);
        Ok(VaeMidBlock {
            resnets: [resnet(0)?, resnet(1)?],
            attention: PixelAttention::load(&params.scope("attentions.0"), channels)?,
        })
    }

    pub(super) fn forward(&self, x: Tensor) -> Result<Tensor, Error> {
        let x = self.resnets[0].forward(x, None)?;
        self.resnets[1].forward(self.attention.forward(x)?, None)
    }
}

/// Self-attention of one head over the pixels, added to its input (`Attention` with a group norm).
struct PixelAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    precision: Precision,
}

impl PixelAttention {
    fn load(params: &Params<'_>, channels: usize) -> Result<PixelAttention, Error> {
        let linear = |name| params.linear(name, channels, channels);
        Ok(PixelAttention {
            group_norm: params.group_norm("group_norm", channels, EPS)?,
            to_q: linear("to_q")?,
            to_k: linear("to_k")?,
            to_v: linear("to_v")?,
            to_out: linear("to_out.0")?,
            precision: params.precision(),
        })
    }

    /// `x` `[batch, height, width, channels]`.
    fn forward(&self, x: Tensor) -> Result<Tensor, Error> {
        let dims = x.dims().to_vec();
        let hidden = ops::group_norm(&x, &self.group_norm)?;
        let hidden = hidden.reshape(&[dims[0], dims[1] * dims[2], dims[3]])?;
        let [q, k, v] = ops::linear_many(&hidden, [&self.to_q, &self.to_k, &self.to_v])?;
        let hidden = ops::attention_in(self.precision, &q, &k, &v, 1, false)?.reshape(&dims)?;
        Ok(ops::linear_add(&hidden, &self.to_out, x)?)
    }
}
