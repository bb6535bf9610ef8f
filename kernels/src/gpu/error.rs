//! What can go wrong on a GPU.

use std::fmt;

/// A GPU cannot do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuError {
    /// The GPU has not enough memory, or not as much as it may use.
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
        /// What is in use.
        used: u64,
    },
    /// The GPU was reset, removed or taken away. What was in its memory is gone.
    Lost {
        /// The driver's words.
        reason: String,
    },
    /// The driver refused a command. That is a defect of this program or of the driver.
    Failed {
        /// The driver's words.
        message: String,
    },
}

impl fmt::Display for GpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuError::OutOfMemory { bytes, used } => write!(
                f,
                "the GPU is out of memory: {} MB more were needed beside {} MB; try a smaller picture or batch, or the CPU",
                bytes.div_ceil(1 << 20),
                used >> 20
            ),
            GpuError::Lost { reason } => {
                write!(f, "the GPU was lost ({reason}); try again, or use the CPU")
            }
            GpuError::Failed { message } => write!(f, "the GPU refused a command: {message}"),
        }
    }
}

impl std::error::Error for GpuError {}
