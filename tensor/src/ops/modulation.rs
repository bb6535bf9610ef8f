//! Modulations of a diffusion transformer's block by vectors of each sequence.

use super::same_shape;
use crate::error::{ShapeRequirement, TensorOp};
use crate::profile::{self, OpClass};
use crate::{Tensor, TensorError};
use latent_kernels::modulation as kernel;

/// `x (1 + scale) + shift`, written into `x`: `x` `[batch, tokens, channels]`, `scale` and `shift` `[batch, channels]`.
///
/// # Errors
/// Shapes that do not agree.
pub fn modulate(mut x: Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor, TensorError> {
    let batch = check_vectors(TensorOp::Modulate, &x, [scale, shift])?;
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let (Some(scale), Some(shift), Some(to)) = (scale.array(), shift.array(), x.array_mut()?) {
        kernel::gpu::modulate(to, scale, shift, batch)?;
        return Ok(x);
    }
    kernel::modulate(x.f32s_mut()?, scale.f32s()?, shift.f32s()?, batch);
    Ok(x)
}

/// The gated residual `x + gate y`, written into `x`: `x` and `y` `[batch, tokens, channels]`, `gate` `[batch, channels]`.
///
/// # Errors
/// Shapes that do not agree.
pub fn add_gated(mut x: Tensor, y: &Tensor, gate: &Tensor) -> Result<Tensor, TensorError> {
    same_shape(TensorOp::AddGated, &x, y)?;
    let batch = check_vectors(TensorOp::AddGated, &x, [gate])?;
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let (Some(y), Some(gate), Some(to)) = (y.array(), gate.array(), x.array_mut()?) {
        kernel::gpu::add_gated(to, y, gate, batch)?;
        return Ok(x);
    }
    kernel::add_gated(x.f32s_mut()?, y.f32s()?, gate.f32s()?, batch);
    Ok(x)
}

/// Checks that there is a vector of channels for each sequence of `x`, and returns the number of sequences.
pub(super) fn check_vectors<const N: usize>(
    op: TensorOp,
    x: &Tensor,
    vectors: [&Tensor; N],
) -> Result<usize, TensorError> {
    let [batch, _, channels] = x.rank(op)?;
    let fits = |vector: &&&Tensor| vector.dims() == [batch, channels] && channels > 0;
    match vectors.iter().find(|vector| !fits(vector)) {
        Some(vector) => {
            Err(TensorError::shape(op, ShapeRequirement::VectorPerImage([batch, channels]), vector.shape()))
        }
        None => Ok(batch),
    }
}
