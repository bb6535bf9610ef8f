//! Modulation by vectors that follow from the conditioning (adaLN-Zero; Peebles and Xie 2022, section 3.2).

use crate::{Error, params::Params};
use latent_tensor::{Linear, Tensor, ops};

/// Epsilon of the layer norms, which have no parameters of their own.
const EPS: f32 = 1e-6;

/// SiLU and a linear layer, from the conditioning vector to the vectors of a block. The SiLU is the same for all blocks, so it
/// is done before.
pub(crate) struct Modulation {
    linear: Linear,
    width: usize,
}

impl Modulation {
    /// `name` is the linear layer's; it gives `vectors` of the network's width.
    pub(crate) fn load(
        params: &Params<'_>,
        name: &str,
        (vectors, width): (usize, usize),
        has_bias: bool,
    ) -> Result<Modulation, Error> {
        Ok(Modulation { linear: params.linear_layer(name, vectors * width, width, has_bias)?, width })
    }

    /// The vectors, each `[batch, width]`, of the activated conditioning `[batch, width]`.
    pub(crate) fn forward(&self, activated: &Tensor) -> Result<Vec<Tensor>, Error> {
        chunks(&ops::linear(activated, &self.linear)?, self.width)
    }
}

/// Parts of equal width: `[batch, n * width]` to n of `[batch, width]`.
pub(crate) fn chunks(x: &Tensor, width: usize) -> Result<Vec<Tensor>, Error> {
    let all = x.dims().last().copied().unwrap_or(0);
    let part = |i: usize| Ok(ops::slice_channels(x, i * width..(i + 1) * width)?);
    (0..all / width).map(part).collect()
}

/// How the normed input of a layer is scaled and shifted: vectors `[batch, width]`.
#[derive(Clone)]
pub(crate) struct ShiftScale {
    pub(crate) shift: Tensor,
    pub(crate) scale: Tensor,
}

impl ShiftScale {
    /// `norm(x) (1 + scale) + shift`, `x` `[batch, tokens, width]`.
    pub(crate) fn norm(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(ops::layer_norm_modulated(x, &self.scale, &self.shift, EPS)?)
    }
}

/// The modulation of an attention or an MLP: of its input, and of what it adds.
#[derive(Clone)]
pub(crate) struct SubLayer {
    pub(crate) input: ShiftScale,
    pub(crate) gate: Tensor,
}

impl SubLayer {
    /// Three vectors in the order of every file: shift, scale, gate.
    ///
    /// # Panics
    /// If there are not three.
    pub(crate) fn of(vectors: &[Tensor]) -> SubLayer {
        let [shift, scale, gate] = vectors else { unreachable!("three vectors of a layer") };
        let input = ShiftScale { shift: shift.clone(), scale: scale.clone() };
        SubLayer { input, gate: gate.clone() }
    }

    /// The input of the layer.
    pub(crate) fn norm(&self, x: &Tensor) -> Result<Tensor, Error> {
        self.input.norm(x)
    }

    /// `x + gate y`.
    pub(crate) fn add(&self, x: Tensor, y: &Tensor) -> Result<Tensor, Error> {
        Ok(ops::add_gated(x, y, &self.gate)?)
    }
}
