//! What can be wrong with an op's arguments.

use std::fmt;

/// An op was given tensors that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorError {
    /// A shape is not what the op needs.
    Shape {
        /// Name of the op.
        op: &'static str,
        /// What the op needs, in words.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// A tensor has another number format than the op computes with.
    DType {
        /// Name of the op.
        op: &'static str,
        /// What the op needs, in words.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// There is not enough memory.
    OutOfMemory {
        /// What was asked for.
        bytes: usize,
    },
}

impl TensorError {
    pub(crate) fn shape(
        op: &'static str,
        expected: impl fmt::Display,
        got: impl fmt::Display,
    ) -> TensorError {
        TensorError::Shape { op, expected: expected.to_string(), got: got.to_string() }
    }
}

impl fmt::Display for TensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TensorError::Shape { op, expected, got } | TensorError::DType { op, expected, got } => {
                write!(f, "{op}: expected {expected}, got {got}")
            }
            TensorError::OutOfMemory { bytes } => {
                write!(
                    f,
                    "out of memory: {} MB more were needed; try a smaller picture or batch",
                    bytes >> 20
                )
            }
        }
    }
}

impl std::error::Error for TensorError {}
