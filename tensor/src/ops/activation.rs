//! Activations. Those that keep the shape take the tensor and write into it.

use super::same_shape;
use crate::error::TensorOp;
use crate::profile::{self, OpClass};
use crate::{Tensor, TensorError};
use latent_kernels::activation::{self as kernel, Activation, Gate};

/// `x sigmoid(x)`.
///
/// # Errors
/// A tensor on the CPU that is not `f32`.
pub fn silu(x: Tensor) -> Result<Tensor, TensorError> {
    apply(Activation::Silu, x)
}

/// The exact GELU.
///
/// # Errors
/// A tensor on the CPU that is not `f32`.
pub fn gelu(x: Tensor) -> Result<Tensor, TensorError> {
    apply(Activation::Gelu, x)
}

/// `x sigmoid(1.702 x)`, as OpenAI's CLIP has it.
///
/// # Errors
/// A tensor on the CPU that is not `f32`.
pub fn quick_gelu(x: Tensor) -> Result<Tensor, TensorError> {
    apply(Activation::QuickGelu, x)
}

/// The approximation of the GELU by a hyperbolic tangent (PyTorch's `approximate="tanh"`).
///
/// # Errors
/// A tensor on the CPU that is not `f32`.
pub fn gelu_tanh(x: Tensor) -> Result<Tensor, TensorError> {
    apply(Activation::GeluTanh, x)
}

/// `max(x, 0)`.
///
/// # Errors
/// A tensor on the CPU that is not `f32`.
pub fn relu(x: Tensor) -> Result<Tensor, TensorError> {
    apply(Activation::Relu, x)
}

/// `x` where it is positive, else 0.2 `x`, as ESRGAN has it.
///
/// # Errors
/// A tensor on the CPU that is not `f32`.
pub fn leaky_relu(x: Tensor) -> Result<Tensor, TensorError> {
    apply(Activation::LeakyRelu, x)
}

pub(super) fn apply(kind: Activation, mut x: Tensor) -> Result<Tensor, TensorError> {
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let Some(array) = x.array_mut()? {
        kernel::gpu::activate(kind, array)?;
        return Ok(x);
    }
    kernel::activate(kind, x.f32s_mut()?);
    Ok(x)
}

/// The first half of the channels times the GELU of the second (Shazeer, GLU Variants Improve Transformer, 2020):
/// `[.., 2 width]` to `[.., width]`.
///
/// # Errors
/// An odd number of channels.
pub fn geglu(x: &Tensor) -> Result<Tensor, TensorError> {
    gated(x, Gate::GEGLU)
}

/// One half of the channels times the activation of the other: `[.., 2 width]` to `[.., width]`.
///
/// # Errors
/// An odd number of channels.
pub fn gated(x: &Tensor, gate: Gate) -> Result<Tensor, TensorError> {
    let mut dims = x.dims().to_vec();
    let width = match dims.last_mut() {
        Some(last) if *last > 0 && last.is_multiple_of(2) => {
            *last /= 2;
            *last
        }
        _ => return Err(TensorError::shape(TensorOp::Geglu, "an even number of channels", x.shape())),
    };
    let mut out = Tensor::scratch_like(x, &dims)?;
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(to)) = (x.array(), out.array_mut()?) {
        kernel::gpu::gated(gate, x, width, to)?;
        return Ok(out);
    }
    kernel::gated(gate, x.f32s()?, width, out.f32s_mut()?);
    Ok(out)
}

/// `values * activation(gates)`, written into `values`.
///
/// # Errors
/// Different shapes.
pub fn multiply_activated(
    mut values: Tensor,
    gates: &Tensor,
    activation: Activation,
) -> Result<Tensor, TensorError> {
    same_shape(TensorOp::MultiplyActivated, &values, gates)?;
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let (Some(gates), Some(to)) = (gates.array(), values.array_mut()?) {
        kernel::gpu::multiply_activated(activation, to, gates)?;
        return Ok(values);
    }
    kernel::multiply_activated(activation, values.f32s_mut()?, gates.f32s()?);
    Ok(values)
}
