//! The block that the trunk is made of (Wang et al. 2018, figure 4).

use crate::{Error, params::Params};
use latent_tensor::{Conv2d, Tensor, ops};

/// Scale of a block's result before it is added to its input (Wang et al. 2018, section 3.1).
const RESIDUAL_SCALE: f32 = 0.2;

/// A residual block of three dense blocks (`RRDB`).
pub(super) struct Rrdb {
    dense: [DenseBlock; 3],
}

impl Rrdb {
    pub(super) fn load(params: &Params<'_>, features: usize, growth: usize) -> Result<Rrdb, Error> {
        let dense = |i: usize| DenseBlock::load(&params.scope(format!("rdb{i}")), features, growth);
        Ok(Rrdb { dense: [dense(1)?, dense(2)?, dense(3)?] })
    }

    /// `x` `[1, height, width, features]`; the result as `x`.
    pub(super) fn forward(&self, x: Tensor) -> Result<Tensor, Error> {
        let mut hidden = x.clone();
        for block in &self.dense {
            hidden = block.forward(hidden)?;
        }
        Ok(ops::add(ops::scale(hidden, RESIDUAL_SCALE)?, &x)?)
    }
}

/// Five convolutions, each of which sees the output of all before it (`ResidualDenseBlock`).
struct DenseBlock {
    conv: [Conv2d; 4],
    conv5: Conv2d,
}

impl DenseBlock {
    fn load(params: &Params<'_>, features: usize, growth: usize) -> Result<DenseBlock, Error> {
        let conv = |i: usize| params.conv3x3(&format!("conv{i}"), growth, features + (i - 1) * growth);
        Ok(DenseBlock {
            conv: [conv(1)?, conv(2)?, conv(3)?, conv(4)?],
            conv5: params.conv3x3("conv5", features, features + 4 * growth)?,
        })
    }

    fn forward(&self, x: Tensor) -> Result<Tensor, Error> {
        let mut all = x.clone();
        for conv in &self.conv {
            let next = ops::leaky_relu(ops::conv2d(&all, conv)?)?;
            all = ops::concat_channels(&all, &next)?;
        }
        Ok(ops::add(ops::scale(ops::conv2d(&all, &self.conv5)?, RESIDUAL_SCALE)?, &x)?)
    }
}
