//! Sums, products and joins of whole tensors.

use super::parameter::Vector;
use super::same_shape;
use crate::error::{ShapeRequirement, TensorOp};
use crate::profile::{self, OpClass};
use crate::{Device, Tensor, TensorError};
use latent_kernels::elementwise as kernel;

/// `a + b`, written into `a`.
///
/// # Errors
/// Different shapes.
pub fn add(mut a: Tensor, b: &Tensor) -> Result<Tensor, TensorError> {
    same_shape(TensorOp::Add, &a, b)?;
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let (Some(b), Some(a_array)) = (b.array(), a.array_mut()?) {
        kernel::gpu::add_assign(a_array, b)?;
        return Ok(a);
    }
    kernel::add_assign(a.f32s_mut()?, b.f32s()?);
    Ok(a)
}

/// `k x`, written into `x`.
///
/// # Errors
/// A tensor that is not `f32`.
pub fn scale(mut x: Tensor, k: f32) -> Result<Tensor, TensorError> {
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let Some(array) = x.array_mut()? {
        kernel::gpu::scale(array, k)?;
        return Ok(x);
    }
    kernel::scale(x.f32s_mut()?, k);
    Ok(x)
}

/// Adds to each pixel of `x` `[batch, height, width, channels]` the vector of its image, `[batch, channels]`; written
/// into `x`.
///
/// # Errors
/// Shapes that do not agree.
pub fn add_per_channel(mut x: Tensor, vector: &Tensor) -> Result<Tensor, TensorError> {
    const OP: TensorOp = TensorOp::AddPerChannel;
    let [batch, _, _, channels] = x.rank(OP)?;
    if vector.dims() != [batch, channels] || channels == 0 {
        return Err(TensorError::shape(
            OP,
            ShapeRequirement::VectorPerImage([batch, channels]),
            vector.shape(),
        ));
    }
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let (Some(vector), Some(array)) = (vector.array(), x.array_mut()?) {
        kernel::gpu::add_per_channel(array, vector, batch, channels)?;
        return Ok(x);
    }
    kernel::add_per_channel(x.f32s_mut()?, vector.f32s()?, batch, channels);
    Ok(x)
}

/// The slopes of a PReLU, one for each channel (`torch.nn.PReLU`).
#[derive(Clone, Debug)]
pub struct Prelu {
    slopes: Vector,
}

impl Prelu {
    /// A layer of these slopes.
    ///
    /// # Errors
    /// Not a single slope.
    pub fn new(slopes: Vec<f32>) -> Result<Prelu, TensorError> {
        if slopes.is_empty() {
            return Err(TensorError::shape(TensorOp::Prelu, "slopes", format_args!("none")));
        }
        Ok(Prelu { slopes: Vector::Cpu(slopes) })
    }

    /// The layer on a device.
    ///
    /// # Errors
    /// No memory there, a lost GPU.
    pub fn to(self, device: &Device) -> Result<Prelu, TensorError> {
        Ok(Prelu { slopes: self.slopes.to(device)? })
    }
}

/// Multiplies the negative values of each channel of `[.., channels]` by its slope; written into `x`.
///
/// # Errors
/// Other channels.
pub fn prelu(mut x: Tensor, layer: &Prelu) -> Result<Tensor, TensorError> {
    let channels = layer.slopes.len();
    if x.dims().last() != Some(&channels) {
        return Err(TensorError::shape(TensorOp::Prelu, ShapeRequirement::Channels(channels), x.shape()));
    }
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let Some(array) = x.array_mut()? {
        kernel::gpu::prelu(array, layer.slopes.array()?)?;
        return Ok(x);
    }
    kernel::prelu(x.f32s_mut()?, layer.slopes.values()?);
    Ok(x)
}

/// Attention without parameters: `(a + b) (sigmoid(a) - 1/2)`, written into `a`
/// (Wan et al., Swift Parameter-free Attention Network, 2024).
///
/// # Errors
/// Different shapes.
pub fn parameter_free_attention(mut a: Tensor, b: &Tensor) -> Result<Tensor, TensorError> {
    same_shape(TensorOp::ParameterFreeAttention, &a, b)?;
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let (Some(b), Some(a_array)) = (b.array(), a.array_mut()?) {
        kernel::gpu::parameter_free_attention(a_array, b)?;
        return Ok(a);
    }
    kernel::parameter_free_attention(a.f32s_mut()?, b.f32s()?);
    Ok(a)
}

/// The channels of `a`, then those of `b`: `[.., c]` and `[.., d]` to `[.., c + d]`.
///
/// # Errors
/// Shapes that differ before the channels.
pub fn concat_channels(a: &Tensor, b: &Tensor) -> Result<Tensor, TensorError> {
    match (a.dims().split_last(), b.dims().split_last()) {
        (Some((&c, before)), Some((&d, other))) if before == other && c > 0 && d > 0 => {
            let mut out = Tensor::scratch_like(a, &[before, &[c + d]].concat())?;
            let _timer = profile::timer(OpClass::Elementwise);
            #[cfg(feature = "gpu")]
            if let (Some(a), Some(b), Some(to)) = (a.array(), b.array(), out.array_mut()?) {
                kernel::gpu::concat_channels(a, c, b, d, to)?;
                return Ok(out);
            }
            kernel::concat_channels(a.f32s()?, c, b.f32s()?, d, out.f32s_mut()?);
            Ok(out)
        }
        _ => Err(TensorError::shape(
            TensorOp::ConcatChannels,
            format_args!("channels beside {}", a.shape()),
            b.shape(),
        )),
    }
}

/// Classifier-free guidance (Ho and Salimans 2022): `without + k (with - without)`, where the first half of the batch
/// was predicted without the prompt and the second half with it: `[2 n, ..]` to `[n, ..]`.
///
/// # Errors
/// A batch without two halves.
pub fn guidance(x: &Tensor, k: f32) -> Result<Tensor, TensorError> {
    let mut dims = x.dims().to_vec();
    match dims.first_mut() {
        Some(batch) if batch.is_multiple_of(2) => *batch /= 2,
        _ => return Err(TensorError::shape(TensorOp::Guidance, "a batch of two halves", x.shape())),
    }
    let mut out = Tensor::scratch_like(x, &dims)?;
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(to)) = (x.array(), out.array_mut()?) {
        kernel::gpu::guidance(x, k, to)?;
        return Ok(out);
    }
    let (without, with) = x.f32s()?.split_at(out.shape().elements());
    let _timer = profile::timer(OpClass::Elementwise);
    kernel::guidance(without, with, k, out.f32s_mut()?);
    Ok(out)
}
