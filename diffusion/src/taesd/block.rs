//! The block that encoder and decoder are made of.

use crate::{Error, params::Params};
use latent_tensor::{Conv2d, Epilogue, Prologue, Tensor, ops};

/// `relu(conv(relu(conv(relu(conv(x))))) + x)` (`AutoencoderTinyBlock`).
pub(super) struct TinyBlock {
    conv: [Conv2d; 3],
}

impl TinyBlock {
    pub(super) fn load(params: &Params<'_>, channels: usize) -> Result<TinyBlock, Error> {
        // The activations between them are numbered too.
        let conv = |i: usize| params.conv3x3(&format!("conv.{i}"), channels, channels);
        Ok(TinyBlock { conv: [conv(0)?, conv(2)?, conv(4)?] })
    }

    /// Consecutive blocks, numbered from `first`.
    pub(super) fn load_all(
        params: &Params<'_>,
        first: usize,
        count: usize,
        channels: usize,
    ) -> Result<Vec<TinyBlock>, Error> {
        (first..first + count).map(|i| TinyBlock::load(&params.scope(i), channels)).collect()
    }

    /// `x` `[batch, height, width, channels]`; the result as `x`.
    pub(super) fn forward(&self, x: Tensor) -> Result<Tensor, Error> {
        let [first, second, third] = &self.conv;
        let hidden = ops::relu(ops::conv2d(&x, first)?)?;
        let hidden = ops::relu(ops::conv2d(&hidden, second)?)?;
        let residual = Epilogue::residual(x);
        Ok(ops::relu(ops::conv2d_fused(&hidden, third, Prologue::none(), residual)?)?)
    }
}
