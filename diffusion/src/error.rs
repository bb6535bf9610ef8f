//! What can go wrong between a checkpoint and a picture.

use crate::samplers::SampleError;
use latent_loader::LoadError;
use latent_tensor::TensorError;
use std::fmt;

/// An error of this crate: one clear line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint cannot be read, or lacks a tensor.
    Load(LoadError),
    /// Tensors do not fit together: a checkpoint whose parts disagree, or a bug.
    Tensor(TensorError),
    /// The file is no model that can draw.
    Unsupported {
        /// The file.
        file: String,
        /// What it seems to be, and what to do.
        reason: String,
    },
    /// A part of the model is not in the file.
    MissingComponent {
        /// The file.
        file: String,
        /// "text encoder", "UNet" or "VAE".
        component: &'static str,
    },
    /// A LoRA that is not sound, or not for this model.
    Lora {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting that the model cannot follow.
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// The sampling failed.
    Sampling(SampleError),
    /// A stage computed a value that is no number.
    NotFinite {
        /// "text encoder" or "VAE".
        stage: &'static str,
    },
    /// The caller asked to stop.
    Cancelled,
}

impl Error {
    /// Whether a GPU failed: out of memory, lost, or refusing a command. On the CPU the same work may succeed.
    #[must_use]
    pub fn is_gpu_fault(&self) -> bool {
        #[cfg(feature = "gpu")]
        if let Error::Tensor(TensorError::Gpu(_)) = self {
            return true;
        }
        false
    }

    /// Whether the cause lies in what the user gave: a file or a setting.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        match self {
            Error::Load(_)
            | Error::Unsupported { .. }
            | Error::MissingComponent { .. }
            | Error::Lora { .. }
            | Error::Setting { .. } => true,
            Error::Tensor(_) | Error::Sampling(_) | Error::NotFinite { .. } | Error::Cancelled => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Load(error) => error.fmt(f),
            Error::Tensor(error) => error.fmt(f),
            Error::Sampling(error) => error.fmt(f),
            Error::Unsupported { file, reason } | Error::Lora { file, reason } => {
                write!(f, "{file}: {reason}")
            }
            Error::MissingComponent { file, component } => {
                write!(f, "{file}: has no {component}; a whole checkpoint holds text encoder, UNet and VAE")
            }
            Error::Setting { name, reason } => write!(f, "{name}: {reason}"),
            Error::NotFinite { stage } => {
                write!(
                    f,
                    "{stage}: the result holds values that are no numbers (NaN); the weights may be damaged"
                )
            }
            Error::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Load(error) => Some(error),
            Error::Tensor(error) => Some(error),
            Error::Sampling(error) => Some(error),
            _ => None,
        }
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Error {
        Error::Load(error)
    }
}

impl From<TensorError> for Error {
    fn from(error: TensorError) -> Error {
        Error::Tensor(error)
    }
}

impl From<SampleError> for Error {
    fn from(error: SampleError) -> Error {
        match error {
            SampleError::Cancelled => Error::Cancelled,
            SampleError::Model(error) => match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::Sampling(SampleError::Model(error)),
            },
            error => Error::Sampling(error),
        }
    }
}
