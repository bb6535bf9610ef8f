//! The dtypes of tensors: what a checkpoint may contain, what weights can be, and how block-quantized formats are laid
//! out.
//!
//! This is a crate of its own, below all others of the workspace, because each of them needs it and none should need
//! another for it: the loader reads dtypes from headers, the kernels multiply by weights of them, the tensors carry
//! them, the models pass them on, and the library of synthetic checkpoints, which the tests of all of these use, writes
//! them. It depends on `half` alone.
//!
//! - [`DType`] names every dtype, with its size.
//! - [`block`] has the scalar specification of each block format, one file each. Fast forms are in `latent-kernels`,
//!   whose tests compare them with these.
//! - [`F8`] are the 8-bit floats.
//!
//! ```
//! use latent_dtype::{DType, block};
//!
//! assert_eq!(DType::F16.bytes(10), 20);
//! assert_eq!((DType::Q8_0.block_len(), DType::Q8_0.bytes(64)), (32, 68));
//! assert_eq!(DType::from_header_name("BF16"), Some(DType::BF16));
//!
//! // A block of 32 values, quantized and back.
//! let codec = block::codec(DType::Q8_0).expect("a block format");
//! let values = [127.0; 32];
//! let bytes = codec.quantize(&values, 32)?;
//! assert_eq!(codec.dequantize(&bytes), values);
//! # Ok::<(), block::NotQuantizable>(())
//! ```

#![forbid(unsafe_code)]

pub mod block;
mod dtype;
mod f8;

pub use dtype::DType;
pub use f8::F8;

/// The example of the crate's README is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
