//! Softmax.

use crate::error::TensorOp;
use crate::profile::{self, OpClass};
use crate::{Tensor, TensorError};

/// Softmax of each row of `[.., width]`, written into `x`.
///
/// # Errors
/// Rows without values.
pub fn softmax(mut x: Tensor) -> Result<Tensor, TensorError> {
    match x.dims().last() {
        Some(&width) if width > 0 => {
            let _timer = profile::timer(OpClass::Elementwise);
            #[cfg(feature = "gpu")]
            if let Some(array) = x.array_mut()? {
                latent_kernels::softmax::gpu::softmax(array, width)?;
                return Ok(x);
            }
            latent_kernels::softmax::softmax(x.f32s_mut()?, width);
            Ok(x)
        }
        _ => Err(TensorError::shape(TensorOp::Softmax, "rows of at least one value", x.shape())),
    }
}
