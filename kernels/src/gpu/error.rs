//! What can go wrong on a GPU.

use std::fmt;

/// A GPU cannot do what it was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuError {
    /// The GPU does not have enough memory, or less than it may use.
    OutOfMemory {
        /// Bytes that were asked for, where that is known: a driver that fails on its own does not say.
        bytes: Option<u64>,
        /// Bytes that were in use, where that is known.
        used: Option<u64>,
    },
    /// The GPU was reset, removed or taken away. The contents of its memory are gone.
    Lost {
        /// The message of the driver.
        reason: String,
    },
    /// The driver refused a command. That is a defect of this program or of the driver.
    Failed {
        /// The message of the driver.
        message: String,
    },
}

impl fmt::Display for GpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuError::OutOfMemory { bytes, used } => {
                f.write_str("the GPU is out of memory")?;
                if let Some(bytes) = bytes {
                    write!(f, ": {} MB more were needed", bytes.div_ceil(1 << 20))?;
                }
                if let (Some(_), Some(used)) = (bytes, used) {
                    write!(f, " beside {} MB", used >> 20)?;
                }
                f.write_str("; try a smaller image or batch, or the CPU")
            }
            GpuError::Lost { reason } => {
                write!(f, "the GPU was lost ({reason}); try again, or use the CPU")
            }
            GpuError::Failed { message } => write!(f, "the GPU refused a command: {message}"),
        }
    }
}

impl std::error::Error for GpuError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_only_what_is_known() {
        let text = |bytes, used| GpuError::OutOfMemory { bytes, used }.to_string();
        let advice = "; try a smaller image or batch, or the CPU";
        assert_eq!(text(None, None), format!("the GPU is out of memory{advice}"));
        assert_eq!(
            text(Some(4 << 20), Some(70 << 20)),
            format!("the GPU is out of memory: 4 MB more were needed beside 70 MB{advice}")
        );
        assert_eq!(text(Some(1), None), format!("the GPU is out of memory: 1 MB more were needed{advice}"));
    }
}
