//! RMS norm.

use super::modulation::check_vectors;
use super::parameter::Vector;
use crate::error::{ShapeRequirement, TensorOp};
use crate::profile::{self, OpClass};
use crate::{Device, Tensor, TensorError};
use latent_kernels::rms_norm as kernel;

/// The parameters of an RMS norm (`torch.nn.RMSNorm`).
#[derive(Clone, Debug)]
pub struct RmsNorm {
    weight: Vector,
    eps: f32,
}

impl RmsNorm {
    /// A norm over rows of the weight's length; `eps` is added to the mean of the squares.
    ///
    /// # Errors
    /// An empty weight.
    pub fn new(weight: Vec<f32>, eps: f32) -> Result<RmsNorm, TensorError> {
        if weight.is_empty() {
            return Err(TensorError::shape(TensorOp::RmsNorm, "a weight", format_args!("none")));
        }
        Ok(RmsNorm { weight: Vector::Cpu(weight), eps })
    }

    /// The layer on a device.
    ///
    /// # Errors
    /// No memory there, a lost GPU.
    pub fn to(self, device: &Device) -> Result<RmsNorm, TensorError> {
        Ok(RmsNorm { weight: self.weight.to(device)?, ..self })
    }
}

/// Normalises each row of the norm's width: the last dimension, or each head of it, as queries and keys are normalised
/// (Zhang and Sennrich, Root Mean Square Layer Normalization, 2019).
///
/// # Errors
/// A last dimension that is not whole rows.
pub fn rms_norm(x: &Tensor, norm: &RmsNorm) -> Result<Tensor, TensorError> {
    let width = norm.weight.len();
    if !x.dims().last().is_some_and(|last| *last > 0 && last.is_multiple_of(width)) {
        return Err(TensorError::shape(TensorOp::RmsNorm, ShapeRequirement::Channels(width), x.shape()));
    }
    let mut out = Tensor::scratch_like(x, x.dims())?;
    let _timer = profile::timer(OpClass::Norm);
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(to)) = (x.array(), out.array_mut()?) {
        kernel::gpu::rms_norm(x, norm.weight.array()?, norm.eps, to)?;
        return Ok(out);
    }
    kernel::rms_norm(x.f32s()?, norm.weight.values()?, norm.eps, out.f32s_mut()?);
    Ok(out)
}

/// Normalises each token of `x` `[batch, tokens, channels]`, and multiplies it by `1 + scale`, `scale` `[batch, channels]`.
///
/// # Errors
/// Shapes that do not agree.
pub fn rms_norm_modulated(x: &Tensor, norm: &RmsNorm, scale: &Tensor) -> Result<Tensor, TensorError> {
    let batch = check_vectors(TensorOp::RmsNorm, x, [scale])?;
    let width = norm.weight.len();
    if x.dims().last() != Some(&width) {
        return Err(TensorError::shape(TensorOp::RmsNorm, ShapeRequirement::Channels(width), x.shape()));
    }
    let mut out = Tensor::scratch_like(x, x.dims())?;
    let _timer = profile::timer(OpClass::Norm);
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(scale), Some(to)) = (x.array(), scale.array(), out.array_mut()?) {
        kernel::gpu::rms_norm_modulated(x, norm.weight.array()?, scale, batch, norm.eps, to)?;
        return Ok(out);
    }
    let weight = norm.weight.values()?;
    kernel::rms_norm_modulated(x.f32s()?, weight, scale.f32s()?, batch, norm.eps, out.f32s_mut()?);
    Ok(out)
}
