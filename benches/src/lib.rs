#![forbid(unsafe_code)]
//! Synthetic checkpoints for tests and benches: safetensors files with the tensor names, shapes and dtypes of the
//! published models, filled with values that follow from a seed. Nothing is downloaded and nothing is stored; the
//! same manifest, seed and dtype of weights give the same bytes on every machine.
//!
//! - [`manifest`]: the list of tensors of a checkpoint, read from JSON.
//! - [`rule`]: which uniform distribution a tensor is drawn from, decided by its name and shape.
//! - [`stream`]: the SplitMix64 stream of one tensor.
//! - [`schedule`]: the noise-schedule buffers that the original single-file checkpoints carry along.
//! - [`synth`]: writes the safetensors bytes.
//! - [`growth`]: asserts that work grows no faster than its input, for tests of parsers.
//! - [`likeness`]: how near images are to each other.
//!
//! ```
//! use latent_benches::{DType, Manifest, synth};
//!
//! let json = r#"{"family": "toy", "scale": "tiny", "layout": "single",
//!                "files": {"toy.safetensors": [{"name": "a.weight", "dtype": "W", "shape": [2, 3]}]}}"#;
//! let manifest = Manifest::parse(json)?;
//! let file = synth::bytes(&manifest.files()["toy.safetensors"], 1234, DType::F16);
//! assert_eq!(file.len() % 8, 4); // a padded header, then 6 values of 2 bytes
//! # Ok::<(), latent_benches::SynthError>(())
//! ```

// This crate is not published, so it can hold the examples of documents outside of all packages.
/// The README's example is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// So is that of the document about prompts.
#[cfg(doctest)]
#[doc = include_str!("../../docs/prompts.md")]
struct Prompts;

pub mod error;
pub mod growth;
pub mod likeness;
pub mod manifest;
pub mod rule;
pub mod schedule;
pub mod stream;
pub mod synth;

pub use error::SynthError;
pub use latent_dtype::DType;
pub use manifest::{Manifest, TensorEntry};

/// The example of the crate's README is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
