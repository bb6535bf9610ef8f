//! Layer norm.

use super::check_len;
use super::modulation::check_vectors;
use super::parameter::Vector;
use crate::error::{ShapeRequirement, TensorOp};
use crate::profile::{self, OpClass};
use crate::{Device, Tensor, TensorError};
use latent_kernels::layer_norm as kernel;

/// The parameters of a layer norm (`torch.nn.LayerNorm`).
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Vector,
    bias: Vector,
    eps: f32,
}

impl LayerNorm {
    /// A norm over the last dimension; `eps` is added to the variance.
    ///
    /// # Errors
    /// An empty weight, a bias of another length.
    pub fn new(weight: Vec<f32>, bias: Vec<f32>, eps: f32) -> Result<LayerNorm, TensorError> {
        if weight.is_empty() {
            return Err(TensorError::shape(TensorOp::LayerNorm, "a weight", format_args!("none")));
        }
        check_len(TensorOp::LayerNorm, "bias", &bias, weight.len())?;
        Ok(LayerNorm { weight: Vector::Cpu(weight), bias: Vector::Cpu(bias), eps })
    }

    /// The layer on a device.
    ///
    /// # Errors
    /// No memory there, a lost GPU.
    pub fn to(self, device: &Device) -> Result<LayerNorm, TensorError> {
        Ok(LayerNorm { weight: self.weight.to(device)?, bias: self.bias.to(device)?, ..self })
    }
}

/// Normalises each row of `[.., channels]` (Ba et al., Layer Normalization, 2016).
///
/// # Errors
/// Other channels.
pub fn layer_norm(x: &Tensor, norm: &LayerNorm) -> Result<Tensor, TensorError> {
    if x.dims().last() != Some(&norm.weight.len()) {
        return Err(TensorError::shape(
            TensorOp::LayerNorm,
            ShapeRequirement::Channels(norm.weight.len()),
            x.shape(),
        ));
    }
    let mut out = Tensor::scratch_like(x, x.dims())?;
    let _timer = profile::timer(OpClass::Norm);
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(to)) = (x.array(), out.array_mut()?) {
        kernel::gpu::layer_norm(x, norm.weight.array()?, norm.bias.array()?, norm.eps, to)?;
        return Ok(out);
    }
    kernel::layer_norm(x.f32s()?, norm.weight.values()?, norm.bias.values()?, norm.eps, out.f32s_mut()?);
    Ok(out)
}

/// The layer norm without parameters of each token of `x` `[batch, tokens, channels]`, times `1 + scale` and plus `shift`, both
/// `[batch, channels]` (adaLN; Peebles and Xie, Scalable Diffusion Models with Transformers, 2022).
///
/// # Errors
/// Shapes that do not agree.
pub fn layer_norm_modulated(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    eps: f32,
) -> Result<Tensor, TensorError> {
    let batch = check_vectors(TensorOp::LayerNormModulated, x, [scale, shift])?;
    let mut out = Tensor::scratch_like(x, x.dims())?;
    let _timer = profile::timer(OpClass::Norm);
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(scale), Some(shift), Some(to)) =
        (x.array(), scale.array(), shift.array(), out.array_mut()?)
    {
        kernel::gpu::layer_norm_modulated(x, scale, shift, batch, eps, to)?;
        return Ok(out);
    }
    kernel::layer_norm_modulated(x.f32s()?, scale.f32s()?, shift.f32s()?, batch, eps, out.f32s_mut()?);
    Ok(out)
}
