//! The error type of the crate.

use std::fmt;

/// Why a checkpoint cannot be made from a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SynthError {
    /// The text is not the JSON of a manifest.
    Json(String),
    /// One entry of the manifest contradicts itself or asks for something unknown.
    Entry {
        /// The file of the checkpoint that the entry belongs to.
        file: String,
        /// The name of the tensor.
        tensor: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A name that is not one of the dtypes of weights: `f16`, `bf16`, `f32`.
    DType(String),
}

impl fmt::Display for SynthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(why) => write!(f, "the manifest is not valid: {why}"),
            Self::Entry { file, tensor, problem } => {
                write!(f, "manifest entry {tensor:?} of {file:?}: {problem}")
            }
            Self::DType(name) => write!(f, "unknown dtype of weights {name:?}: use f16, bf16 or f32"),
        }
    }
}

impl std::error::Error for SynthError {}
