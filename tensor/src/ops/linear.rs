//! Linear layers.

use super::{check_len, same_shape};
use crate::profile::{self, Class};
use crate::{Tensor, TensorError, WeightBytes};
use latent_kernels::gemm::{PackedMatrix, gemm};

/// The parameters of a linear layer, packed (`torch.nn.Linear`).
#[derive(Clone, Debug)]
pub struct Linear {
    weight: PackedMatrix,
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// Packs a weight `[outputs, inputs]`.
    ///
    /// # Errors
    /// A weight or bias of another length.
    pub fn new(
        weight: WeightBytes<'_>,
        [outputs, inputs]: [usize; 2],
        bias: Option<Vec<f32>>,
    ) -> Result<Linear, TensorError> {
        if weight.is_empty() || weight.len() != outputs * inputs {
            let expected = format_args!("a weight of {outputs} x {inputs} values").to_string();
            return Err(TensorError::shape("linear", expected, weight.len()));
        }
        if let Some(bias) = &bias {
            check_len("linear", "a bias", bias, outputs)?;
        }
        Ok(Linear { weight: PackedMatrix::new(weight, outputs, inputs), bias })
    }

    /// Channels that it takes.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.weight.inputs()
    }

    /// Channels that it gives.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.weight.outputs()
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.weight.bytes() + self.bias.as_ref().map_or(0, |b| size_of_val(&b[..]))
    }
}

/// `x Wᵀ + b`: `[.., inputs]` to `[.., outputs]`.
///
/// # Errors
/// Another last dimension.
pub fn linear(x: &Tensor, layer: &Linear) -> Result<Tensor, TensorError> {
    run(x, layer, None)
}

/// `x Wᵀ + b + residual`, the residual of the result's shape.
///
/// # Errors
/// Another last dimension, another shape of the residual.
pub fn linear_add(x: &Tensor, layer: &Linear, residual: &Tensor) -> Result<Tensor, TensorError> {
    run(x, layer, Some(residual))
}

fn run(x: &Tensor, layer: &Linear, residual: Option<&Tensor>) -> Result<Tensor, TensorError> {
    let mut dims = x.dims().to_vec();
    match dims.last_mut() {
        Some(last) if *last == layer.inputs() => *last = layer.outputs(),
        _ => {
            let expected = format_args!("a last dimension of {}", layer.inputs()).to_string();
            return Err(TensorError::shape("linear", expected, x.shape()));
        }
    }
    let mut out = Tensor::scratch(&dims)?;
    if let Some(residual) = residual {
        same_shape("linear", &out, residual)?;
    }
    let residual = residual.map(Tensor::f32s).transpose()?;
    let _timer = profile::timer(Class::Linear).multiply_adds(out.shape().elements(), layer.inputs());
    gemm(x.f32s()?, &layer.weight, layer.bias.as_deref(), residual, out.f32s_mut()?);
    Ok(out)
}
