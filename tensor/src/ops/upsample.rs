//! Upsampling.

use crate::error::TensorOp;
use crate::profile::{self, OpClass};
use crate::{Tensor, TensorError};
use latent_kernels::upsample as kernel;

/// Nearest-neighbour resize of `[batch, height, width, channels]` to `height` by `width`, like
/// `torch.nn.functional.interpolate`.
///
/// # Errors
/// An image without pixels or channels.
pub fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor, TensorError> {
    const OP: TensorOp = TensorOp::UpsampleNearest;
    let [batch, h, w, channels] = x.rank(OP)?;
    if h * w * channels == 0 || height * width == 0 {
        return Err(TensorError::shape(OP, "images with pixels", x.shape()));
    }
    let mut out = Tensor::scratch_like(x, &[batch, height, width, channels])?;
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(to)) = (x.array(), out.array_mut()?) {
        kernel::gpu::nearest(x, [batch, h, w, channels], [height, width], to)?;
        return Ok(out);
    }
    kernel::nearest(x.f32s()?, [batch, h, w, channels], [height, width], out.f32s_mut()?);
    Ok(out)
}
