//! What samplers compute on latents. All of it takes and gives `f32`, on a GPU too, whatever the dtype of the model there.

use super::same_shape;
use crate::error::TensorOp;
use crate::profile::{self, OpClass};
use crate::{DType, Tensor, TensorError};
use latent_kernels::sampling as kernel;

/// The sum of some terms, each a factor and a tensor, all of one shape. On the CPU products and sums are `f64`, on a GPU `f32`.
///
/// # Errors
/// No term, terms of different shapes, of another dtype than `f32` or on different devices.
pub fn linear_combination(terms: &[(f64, &Tensor)]) -> Result<Tensor, TensorError> {
    const OP: TensorOp = TensorOp::LinearCombination;
    let Some((_, first)) = terms.first() else {
        return Err(TensorError::shape(OP, "at least one term", format_args!("none")));
    };
    for (_, term) in terms {
        same_shape(OP, first, term)?;
        check(OP, term)?;
    }
    let mut out = Tensor::scratch_like(first, first.dims())?;
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let Some(to) = out.array_mut()? {
        let arrays: Option<Vec<_>> =
            terms.iter().map(|(factor, term)| Some((*factor, term.array()?))).collect();
        let Some(arrays) = arrays else {
            return Err(TensorError::wrong_device(OP, to.gpu().name(), "the CPU"));
        };
        kernel::gpu::linear_combination(&arrays, to)?;
        return Ok(out);
    }
    let values: Result<Vec<(f64, &[f32])>, TensorError> =
        terms.iter().map(|(factor, term)| Ok((*factor, term.f32s()?))).collect();
    kernel::linear_combination(&values?, out.f32s_mut()?);
    Ok(out)
}

/// `x` where the mask is not 0, and `other` where it is; written into `x` (`torch.where`).
///
/// # Errors
/// Different shapes, another dtype than `f32`, different devices.
pub fn select(mask: &Tensor, mut x: Tensor, other: &Tensor) -> Result<Tensor, TensorError> {
    const OP: TensorOp = TensorOp::Select;
    for tensor in [mask, other, &x] {
        same_shape(OP, &x, tensor)?;
        check(OP, tensor)?;
    }
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let (Some(mask), Some(other), Some(x_array)) = (mask.array(), other.array(), x.array_mut()?) {
        kernel::gpu::select(mask, x_array, other)?;
        return Ok(x);
    }
    kernel::select(mask.f32s()?, x.f32s_mut()?, other.f32s()?);
    Ok(x)
}

/// Some entries of the first dimension, in that order: `[n, ..]` to `[indices, ..]` (`torch.index_select`).
///
/// # Errors
/// An index that does not exist, no index.
pub fn index_select(x: &Tensor, indices: &[usize]) -> Result<Tensor, TensorError> {
    const OP: TensorOp = TensorOp::IndexSelect;
    let mut dims = x.dims().to_vec();
    let count = dims.first().copied().unwrap_or(0);
    if indices.is_empty() || indices.iter().any(|index| *index >= count) {
        return Err(TensorError::shape(
            OP,
            format_args!("indices below {count}"),
            format_args!("{indices:?}"),
        ));
    }
    dims[0] = indices.len();
    let width = x.shape().elements() / count;
    let mut out = Tensor::scratch_like(x, &dims)?;
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(to)) = (x.array(), out.array_mut()?) {
        kernel::gpu::index_select(x, width, indices, to)?;
        return Ok(out);
    }
    let values = x.f32s()?;
    for (row, index) in out.f32s_mut()?.chunks_exact_mut(width).zip(indices) {
        row.copy_from_slice(&values[index * width..][..width]);
    }
    Ok(out)
}

/// Whether the values of a tensor are finite. On a GPU that is known later.
#[derive(Debug)]
pub struct FiniteCheck(Answer);

#[derive(Debug)]
enum Answer {
    Known(bool),
    #[cfg(feature = "gpu")]
    Pending(kernel::gpu::PendingFiniteCheck),
}

impl FiniteCheck {
    /// Whether no value is NaN or infinite. A GPU is waited for until it has computed the tensor, but not what was recorded since.
    ///
    /// # Errors
    /// A lost GPU.
    pub fn finish(self) -> Result<bool, TensorError> {
        match self.0 {
            Answer::Known(is_finite) => Ok(is_finite),
            #[cfg(feature = "gpu")]
            Answer::Pending(check) => Ok(check.finish()?),
        }
    }
}

/// Begins to look for NaN and infinities. A GPU starts on all that was recorded.
///
/// # Errors
/// Another dtype than `f32`, a lost GPU.
pub fn all_finite(x: &Tensor) -> Result<FiniteCheck, TensorError> {
    check(TensorOp::AllFinite, x)?;
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let Some(array) = x.array() {
        return Ok(FiniteCheck(Answer::Pending(kernel::gpu::all_finite(array)?)));
    }
    Ok(FiniteCheck(Answer::Known(kernel::all_finite(x.f32s()?))))
}

/// Refuses another dtype than `f32`.
fn check(op: TensorOp, x: &Tensor) -> Result<(), TensorError> {
    if x.dtype() == DType::F32 {
        return Ok(());
    }
    Err(TensorError::DType { op, expected: &[DType::F32], got: x.dtype() })
}
