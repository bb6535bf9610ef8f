//! What can go wrong between a checkpoint and an image.

use crate::families::{Component, MissingTensors};
use crate::samplers::SampleError;
use crate::setting::{Setting, SettingProblem};
use crate::stage::Stage;
use latent_loader::{LoadError, Plain};
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
    /// The file is not a model that can draw.
    Unsupported {
        /// The file.
        file: String,
        /// What it seems to be, and what to do.
        reason: String,
    },
    /// Parts of the model are not in the file.
    MissingComponent {
        /// The file.
        file: String,
        /// All that it lacks.
        components: Vec<Component>,
    },
    /// A model whose layers do not find all of their tensors.
    Incomplete(Box<MissingTensors>),
    /// A LoRA that is not valid, or not for this model.
    Lora {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A textual inversion that is not valid, or not for this model.
    Embedding {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting that the model cannot follow.
    Setting {
        /// The setting.
        setting: Setting,
        /// What is wrong with it, and what would be right.
        problem: SettingProblem,
    },
    /// The sampling failed.
    Sampling(SampleError),
    /// A stage computed infinities or NaN.
    NotFinite {
        /// The stage.
        stage: Stage,
    },
    /// A file cannot be written.
    Output {
        /// The file.
        file: String,
        /// What the operating system reports.
        error: std::io::Error,
    },
    /// The caller asked to stop.
    Cancelled,
}

impl Error {
    /// What is wrong with a setting.
    pub(crate) fn setting(setting: Setting, problem: impl Into<SettingProblem>) -> Error {
        Error::Setting { setting, problem: problem.into() }
    }

    /// Whether a GPU failed: out of memory, lost, or refusing a command. On the CPU the same work may succeed.
    #[must_use]
    pub fn is_gpu_fault(&self) -> bool {
        #[cfg(feature = "gpu")]
        if let Error::Tensor(TensorError::Gpu(_)) = self {
            return true;
        }
        false
    }

    /// Whether a GPU has less memory, or may use less, than was needed.
    #[must_use]
    pub fn is_out_of_gpu_memory(&self) -> bool {
        #[cfg(feature = "gpu")]
        if let Error::Tensor(TensorError::Gpu(error)) = self {
            return matches!(error, latent_tensor::gpu::GpuError::OutOfMemory { .. });
        }
        false
    }

    /// Whether a stage computed infinities or NaN. Where that was in the half precision of a GPU, `f32` may hold its values.
    #[must_use]
    pub fn is_not_finite(&self) -> bool {
        matches!(self, Error::NotFinite { .. } | Error::Sampling(SampleError::NotFinite { .. }))
    }

    /// Whether the cause is what the user gave: a file or a setting.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        match self {
            Error::Load(_)
            | Error::Unsupported { .. }
            | Error::MissingComponent { .. }
            | Error::Incomplete(_)
            | Error::Lora { .. }
            | Error::Embedding { .. }
            | Error::Setting { .. } => true,
            Error::Tensor(_)
            | Error::Sampling(_)
            | Error::NotFinite { .. }
            | Error::Output { .. }
            | Error::Cancelled => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Load(error) => error.fmt(f),
            Error::Incomplete(gaps) => gaps.fmt(f),
            Error::Tensor(error) => error.fmt(f),
            Error::Sampling(error) => error.fmt(f),
            Error::Unsupported { file, reason }
            | Error::Lora { file, reason }
            | Error::Embedding { file, reason } => {
                write!(f, "{}: {}", Plain(file), Plain(reason))
            }
            Error::MissingComponent { file, components } => {
                let names: Vec<_> = components.iter().map(|component| component.name()).collect();
                let (file, lacking) = (Plain(file), names.join(" and no "));
                write!(
                    f,
                    "{file}: has no {lacking}; a whole checkpoint holds text encoder, UNet or transformer, and VAE"
                )
            }
            Error::Setting { setting, problem } => write!(f, "{setting}: {}", Plain(&problem.to_string())),
            Error::NotFinite { stage } => {
                let worker = stage.worker();
                write!(f, "{worker}: the result contains NaN or infinite values; the weights may be damaged")
            }
            Error::Output { file, error } => write!(f, "{}: cannot be written: {error}", Plain(file)),
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
            Error::Output { error, .. } => Some(error),
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
