//! The MLP of a block.

use crate::{Error, params::Params};
use latent_tensor::{Activation, Gate, Linear, Tensor, ops};

/// An MLP's sizes and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MlpShape {
    /// Width between both layers.
    pub(crate) hidden: usize,
    /// Whether it is gated (SwiGLU, as in Flux.2) in place of a tanh GELU.
    pub(crate) is_gated: bool,
}

impl MlpShape {
    /// Outputs of the first layer: of a gated one, gates and then values.
    pub(crate) fn first_outputs(self) -> usize {
        if self.is_gated { 2 * self.hidden } else { self.hidden }
    }

    /// The first layer with its activation: `[.., width]` to `[.., hidden]`.
    pub(crate) fn activated(self, x: &Tensor, first: &Linear) -> Result<Tensor, Error> {
        Ok(match self.is_gated {
            true => ops::linear_gated(x, first, Gate::SWIGLU)?,
            false => ops::linear_activated(x, first, Activation::GeluTanh)?,
        })
    }
}

/// Two linear layers with an activation between.
pub(crate) struct BlockMlp {
    shape: MlpShape,
    first: Linear,
    second: Linear,
}

impl BlockMlp {
    pub(crate) fn load(
        params: &Params<'_>,
        shape: MlpShape,
        width: usize,
        has_bias: bool,
    ) -> Result<BlockMlp, Error> {
        let [first, second] =
            if shape.is_gated { ["linear_in", "linear_out"] } else { ["net.0.proj", "net.2"] };
        Ok(BlockMlp {
            shape,
            first: params.linear_layer(first, shape.first_outputs(), width, has_bias)?,
            second: params.linear_layer(second, width, shape.hidden, has_bias)?,
        })
    }

    /// `[batch, tokens, width]`; the result as `x`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(ops::linear(&self.shape.activated(x, &self.first)?, &self.second)?)
    }
}
