//! Kernels for Stable Diffusion on plain slices, for the CPU.
//!
//! Products ([`gemm`], [`conv2d`], [`attention`]), norms ([`group_norm`], [`layer_norm`], [`rms_norm`],
//! [`softmax`]), [`activation`]s, [`modulation`] and [`rotary`] positions of transformers, [`elementwise`] arithmetic,
//! nearest-neighbour [`upsample`] and [`token_merging`]. Images are channels-last. Every kernel is written once
//! against the vector trait of [`simd`] and uses the CPU's best instruction set, detected at run time; each folder holds
//! the specification (`reference`) too. Work is shared between threads by [`parallel`], and the result never depends on
//! how many there are. [`arena`] and [`sys`] are the memory and the machine below the kernels.
//!
//! ```
//! use latent_kernels::conv2d::{ConvWeight, Padding, conv2d};
//! use latent_kernels::{DType, WeightBytes};
//!
//! // A 3x3 box filter on one channel, its weight in f32 bytes as in a file.
//! let bytes: Vec<u8> = [1f32; 9].iter().flat_map(|v| v.to_le_bytes()).collect();
//! let filter = ConvWeight::new(WeightBytes::new(DType::F32, &bytes), 1, 1, 3, 1, Padding::all(1));
//!
//! let image = [1f32; 16]; // [1, 4, 4, 1]
//! let mut out = [0.0; 16];
//! conv2d(&image, [1, 4, 4], &filter, Some(&[0.5]), None, &mut out);
//! assert_eq!(out[..4], [4.5, 6.5, 6.5, 4.5]);
//! ```

pub mod activation;
mod aligned;
pub mod arena;
pub mod attention;
pub mod conv2d;
pub mod dtype;
pub mod elementwise;
pub mod gemm;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod group_norm;
pub mod layer_norm;
pub mod modulation;
pub mod parallel;
mod precision;
pub mod quant;
pub mod rms_norm;
pub mod rotary;
pub mod sampling;
#[cfg(feature = "gpu")]
pub mod shaders;
pub mod simd;
pub mod softmax;
pub mod sys;
pub mod token_merging;
pub mod upsample;

pub use dtype::{DType, WeightBytes};
pub use gemm::{SharedBytes, Weight};
pub use precision::{Precision, UnknownPrecision};
pub use simd::Isa;

#[cfg(test)]
mod testing;

/// The example of the crate's README is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
