//! Linear layers of a feed-forward: those that end in an activation or a gate.

use super::linear::{Linear, dims};
use crate::error::TensorOp;
use crate::profile::{self, OpClass};
use crate::{Tensor, TensorError};
use latent_kernels::activation::{Activation, Gate};
#[cfg(feature = "gpu")]
use latent_kernels::gemm::gpu::{self, GpuGatedWeights};
use latent_kernels::gemm::{self as kernel, GatedWeights, LayerWeights};

/// `activation(x Wᵀ + b)`: `[.., inputs]` to `[.., outputs]`.
///
/// # Errors
/// Another last dimension.
pub fn linear_activated(x: &Tensor, layer: &Linear, activation: Activation) -> Result<Tensor, TensorError> {
    let mut out = Tensor::scratch_like(x, &dims(x, layer, layer.outputs())?)?;
    let _timer = profile::timer(OpClass::Linear).multiply_adds(out.shape().elements(), layer.inputs());
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(to)) = (x.array(), out.array_mut()?) {
        gpu::gemm_activated(x, layer.on_gpu()?, activation, to)?;
        return Ok(out);
    }
    let weights = layer_weights(layer)?;
    kernel::gemm_activated(layer.precision, x.f32s()?, weights, activation, out.f32s_mut()?);
    Ok(out)
}

/// The first half of `x Wᵀ + b` times the GELU of the second (GEGLU; Shazeer, GLU Variants Improve Transformer, 2020):
/// `[.., inputs]` to `[.., outputs / 2]`.
///
/// # Errors
/// Another last dimension, an odd number of outputs.
pub fn linear_geglu(x: &Tensor, layer: &Linear) -> Result<Tensor, TensorError> {
    linear_gated(x, layer, Gate::GEGLU)
}

/// One half of `x Wᵀ + b` times the activation of the other: `[.., inputs]` to `[.., outputs / 2]`.
///
/// # Errors
/// Another last dimension, an odd number of outputs.
pub fn linear_gated(x: &Tensor, layer: &Linear, gate: Gate) -> Result<Tensor, TensorError> {
    if !layer.outputs().is_multiple_of(2) {
        return Err(TensorError::shape(TensorOp::Linear, "an even number of outputs", layer.outputs()));
    }
    let mut out = Tensor::scratch_like(x, &dims(x, layer, layer.outputs() / 2)?)?;
    let _timer = profile::timer(OpClass::Linear).multiply_adds(2 * out.shape().elements(), layer.inputs());
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(to)) = (x.array(), out.array_mut()?) {
        gpu::gemm_gated(x, GpuGatedWeights::Fused(layer.on_gpu()?, gate), to)?;
        return Ok(out);
    }
    let weights = GatedWeights::Fused(layer_weights(layer)?, gate);
    kernel::gemm_gated(layer.precision, x.f32s()?, weights, out.f32s_mut()?);
    Ok(out)
}

/// The outputs of `values` times the activation of those of `gates`, where the file has them as two layers (T5, Qwen3):
/// `[.., inputs]` to `[.., outputs]`. On the CPU the product has the precision of `values`.
///
/// # Errors
/// Another last dimension, layers of different sizes.
pub fn linear_gated_by(
    x: &Tensor,
    values: &Linear,
    gates: &Linear,
    activation: Activation,
) -> Result<Tensor, TensorError> {
    let sizes = |layer: &Linear| [layer.outputs(), layer.inputs()];
    if sizes(gates) != sizes(values) {
        let expected = format_args!("gates of {:?}", sizes(values));
        return Err(TensorError::shape(TensorOp::Linear, expected, &sizes(gates)[..]));
    }
    let mut out = Tensor::scratch_like(x, &dims(x, values, values.outputs())?)?;
    let _timer = profile::timer(OpClass::Linear).multiply_adds(2 * out.shape().elements(), values.inputs());
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(to)) = (x.array(), out.array_mut()?) {
        let (values, gates) = (values.on_gpu()?, gates.on_gpu()?);
        gpu::gemm_gated(x, GpuGatedWeights::Pair { values, gates, activation }, to)?;
        return Ok(out);
    }
    let weights =
        GatedWeights::Pair { values: layer_weights(values)?, gates: layer_weights(gates)?, activation };
    kernel::gemm_gated(values.precision, x.f32s()?, weights, out.f32s_mut()?);
    Ok(out)
}

/// Weight and bias of a layer on the CPU.
fn layer_weights(layer: &Linear) -> Result<LayerWeights<'_>, TensorError> {
    let (weight, bias) = layer.on_cpu()?;
    Ok(LayerWeights { weight, bias })
}
