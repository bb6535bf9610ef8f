//! Errors as a person sees them: one line, and an exit status.

use crate::sources;
use std::fmt;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum CliError {
    /// Something that the user gave: exit status 2.
    BadInput(String),
    /// Something that happened: exit status 1.
    RunTime(String),
    /// Ctrl-C: exit status 130, as shells expect.
    Interrupted,
}

impl CliError {
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            CliError::RunTime(_) => 1,
            CliError::BadInput(_) => 2,
            CliError::Interrupted => 130,
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::BadInput(line) | CliError::RunTime(line) => f.write_str(line),
            CliError::Interrupted => f.write_str("interrupted; nothing was left half-written"),
        }
    }
}

impl From<latent_diffusion::Error> for CliError {
    fn from(error: latent_diffusion::Error) -> CliError {
        match error {
            latent_diffusion::Error::Cancelled => CliError::Interrupted,
            latent_diffusion::Error::MissingComponent { file, components } => {
                CliError::BadInput(sources::tell_lacking(&file, &components))
            }
            error if error.is_bad_input() => CliError::BadInput(error.to_string()),
            error => CliError::RunTime(error.to_string()),
        }
    }
}

impl From<latent_loader::LoadError> for CliError {
    fn from(error: latent_loader::LoadError) -> CliError {
        latent_diffusion::Error::from(error).into()
    }
}
