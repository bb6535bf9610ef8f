//! What can be wrong with an op's arguments.

#[cfg(feature = "gpu")]
use latent_kernels::gpu::GpuError;
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
    /// A tensor or a layer is on another device than the op needs it on.
    Device {
        /// Name of the op.
        op: &'static str,
        /// Where it is needed.
        expected: String,
        /// Where it is.
        got: String,
    },
    /// A GPU failed.
    #[cfg(feature = "gpu")]
    Gpu(GpuError),
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

    #[cfg(feature = "gpu")]
    pub(crate) fn elsewhere(
        op: &'static str,
        expected: impl fmt::Display,
        got: impl fmt::Display,
    ) -> TensorError {
        TensorError::Device { op, expected: expected.to_string(), got: got.to_string() }
    }
}

impl fmt::Display for TensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TensorError::Shape { op, expected, got } | TensorError::DType { op, expected, got } => {
                write!(f, "{op}: expected {expected}, got {got}")
            }
            TensorError::Device { op, expected, got } => {
                write!(f, "{op}: expected memory of {expected}, got that of {got}")
            }
            #[cfg(feature = "gpu")]
            TensorError::Gpu(error) => error.fmt(f),
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

#[cfg(feature = "gpu")]
impl From<GpuError> for TensorError {
    fn from(error: GpuError) -> TensorError {
        TensorError::Gpu(error)
    }
}
