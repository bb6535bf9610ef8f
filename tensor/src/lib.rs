#![forbid(unsafe_code)]
//! A minimal tensor for diffusion models: a shape, a dtype, storage from a pool, a device, and one checked
//! function per op.
//!
//! Tensors are contiguous and row-major. Images are channels-last, `[batch, height, width, channels]`, sequences
//! `[batch, length, channels]`. Ops take references and return new tensors, whose memory comes from a [`Pool`] and
//! returns to it, so the forward pass of a model allocates only once. Shapes are checked before a kernel runs; a
//! mismatch is a [`TensorError`] that names the op.
//!
//! ```
//! use latent_tensor::{DType, Linear, Tensor, WeightBytes, ops};
//!
//! // y = x Wᵀ + b with W = [[1, 2], [3, 4], [5, 6]]
//! let weight: Vec<u8> = [1f32, 2., 3., 4., 5., 6.].iter().flat_map(|v| v.to_le_bytes()).collect();
//! let layer = Linear::new(WeightBytes::new(DType::F32, &weight), [3, 2], Some(vec![0.5, 0., 0.]))?;
//! let x = Tensor::from_f32(&[1, 2], &[10., 1.])?;
//! let y = ops::linear(&x, &layer)?;
//! assert_eq!((y.dims(), y.f32s()?), (&[1, 3][..], &[12.5, 34., 56.][..]));
//!
//! // A mismatch is an error, not a panic.
//! let error = ops::linear(&Tensor::from_f32(&[1, 3], &[0.; 3])?, &layer).unwrap_err();
//! assert_eq!(error.to_string(), "linear: expected a last dimension of 2, got [1, 3]");
//! # Ok::<(), latent_tensor::TensorError>(())
//! ```

mod device;
mod error;
pub mod ops;
mod pool;
pub mod profile;
mod shape;
mod tensor;
mod window;

pub use device::Device;
pub use error::{ShapeFound, ShapeRequirement, TensorError, TensorOp};
pub use latent_kernels::activation::{Activation, Gate};
pub use latent_kernels::arena::ArenaUse;
pub use latent_kernels::conv2d::{BAND_UNIT, Padding};
#[cfg(feature = "gpu")]
pub use latent_kernels::gpu;
pub use latent_kernels::rotary::RotaryPairing;
pub use latent_kernels::{DType, Precision, SharedBytes, Weight, WeightBytes};
pub use ops::{
    AttentionOptions, Conv2d, Embedding, Epilogue, GroupNorm, LayerNorm, Linear, NormSums, PrecomputedNorm,
    Prelu, Prologue, RmsNorm, RotaryTable,
};
pub use pool::Pool;
pub use shape::{InvalidShape, Shape};
pub use tensor::Tensor;
pub use window::Window;

/// The example of the crate's README is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
