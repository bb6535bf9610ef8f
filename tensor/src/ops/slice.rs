//! Parts of the channels.

use crate::error::TensorOp;
use crate::profile::{self, OpClass};
use crate::{Tensor, TensorError};
use latent_kernels::elementwise as kernel;
use std::ops::Range;

/// A copy of some channels of `[.., channels]`: the inverse of [`super::concat_channels`]. With the tokens of a sequence as
/// its channels, `[batch, tokens * width]`, a part of the tokens.
///
/// # Errors
/// Channels that `x` does not have.
pub fn slice_channels(x: &Tensor, channels: Range<usize>) -> Result<Tensor, TensorError> {
    let mut dims = x.dims().to_vec();
    let all = match dims.last_mut() {
        Some(last) if channels.start < channels.end && channels.end <= *last => {
            std::mem::replace(last, channels.len())
        }
        _ => {
            let expected = format_args!("channels {channels:?}");
            return Err(TensorError::shape(TensorOp::SliceChannels, expected, x.shape()));
        }
    };
    let mut out = Tensor::scratch_like(x, &dims)?;
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(to)) = (x.array(), out.array_mut()?) {
        kernel::gpu::slice_channels(x, all, channels, to)?;
        return Ok(out);
    }
    kernel::slice_channels(x.f32s()?, all, channels, out.f32s_mut()?);
    Ok(out)
}
