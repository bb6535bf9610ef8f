//! Errors as a person sees them: one line, and an exit status.

use latent_diffusion::families::Component;
use std::fmt;

/// Why a job or another piece of work failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppError {
    /// Something that the user gave.
    BadInput(String),
    /// Something that the user gave, with a way out that a program can offer in its own words.
    Refused {
        /// What is wrong.
        message: String,
        /// What can be done.
        remedy: Remedy,
    },
    /// Parts of a model that are in none of its files.
    MissingComponents {
        /// The file.
        file: String,
        /// All that it lacks: "text encoder (CLIP-L)", "VAE", …
        components: Vec<Component>,
    },
    /// Something that happened.
    RunTime(String),
    /// The work was cancelled.
    Interrupted,
}

/// What can be done about an [`AppError::Refused`]. Its text names settings; a program names its own flags or buttons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Look at the list of devices.
    ListDevices,
    /// Name the folder of a file that an image was made with.
    SearchFolder,
    /// Accept a file of another hash.
    AcceptOtherFiles,
    /// Accept a setting that this version does not have, and leave it out.
    LeaveOut,
    /// Name the model.
    NameModel,
    /// Name the folder of LoRAs.
    LoraFolder,
    /// Let an output replace the model that is there.
    Replace,
    /// Accept a drawing that takes long.
    AcceptCost,
    /// Read weights block by block.
    StreamWeights,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Remedy::ListDevices => "see the list of devices",
            Remedy::SearchFolder => "name its folder",
            Remedy::AcceptOtherFiles => "other files must be accepted by name",
            Remedy::LeaveOut => "it can be left out",
            Remedy::NameModel => "name the model",
            Remedy::LoraFolder => "name the folder of LoRAs",
            Remedy::Replace => "replacing it must be allowed",
            Remedy::AcceptCost => "it must be accepted first",
            Remedy::StreamWeights => "weights can be read block by block",
        })
    }
}

impl AppError {
    /// The exit status of a program that fails for it: 2 for bad input, 1 for a failure at run time, 130 for a
    /// cancelled run, as shells expect.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            AppError::RunTime(_) => 1,
            AppError::BadInput(_) | AppError::Refused { .. } | AppError::MissingComponents { .. } => 2,
            AppError::Interrupted => 130,
        }
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppError::BadInput(line) | AppError::RunTime(line) => f.write_str(line),
            AppError::Refused { message, remedy } => write!(f, "{message}; {remedy}"),
            AppError::MissingComponents { file, components } => {
                let them = if components.len() == 1 { "it" } else { "them" };
                let names: Vec<_> = components.iter().map(|component| component.name()).collect();
                let lacking = names.join(", no ");
                write!(f, "{file}: has no {lacking}; give {them}, or another model to take {them} from")
            }
            AppError::Interrupted => f.write_str("interrupted; nothing was left half-written"),
        }
    }
}

impl std::error::Error for AppError {}

impl From<latent_diffusion::Error> for AppError {
    fn from(error: latent_diffusion::Error) -> AppError {
        match error {
            latent_diffusion::Error::Cancelled => AppError::Interrupted,
            latent_diffusion::Error::MissingComponent { file, components } => {
                AppError::MissingComponents { file, components }
            }
            error if error.is_bad_input() => AppError::BadInput(error.to_string()),
            error => AppError::RunTime(error.to_string()),
        }
    }
}

impl From<latent_loader::LoadError> for AppError {
    fn from(error: latent_loader::LoadError) -> AppError {
        latent_diffusion::Error::from(error).into()
    }
}
