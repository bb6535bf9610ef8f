//! Errors as a person sees them: one line, and an exit status.

use latent_diffusion::families::Component;
use std::fmt;

/// Why a command failed.
#[derive(Debug)]
pub enum AppError {
    /// Something that the user gave: exit status 2.
    BadInput(String),
    /// Something that happened: exit status 1.
    RunTime(String),
    /// Ctrl-C: exit status 130, as shells expect.
    Interrupted,
}

impl AppError {
    pub fn exit_status(&self) -> u8 {
        match self {
            AppError::RunTime(_) => 1,
            AppError::BadInput(_) => 2,
            AppError::Interrupted => 130,
        }
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppError::BadInput(line) | AppError::RunTime(line) => f.write_str(line),
            AppError::Interrupted => f.write_str("interrupted; nothing was left half-written"),
        }
    }
}

impl From<latent_diffusion::Error> for AppError {
    fn from(error: latent_diffusion::Error) -> AppError {
        match error {
            latent_diffusion::Error::Cancelled => AppError::Interrupted,
            latent_diffusion::Error::MissingComponent { file, components } => {
                AppError::BadInput(missing_components_line(&file, &components))
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

/// One line for parts that are lacking, with the flags that give them.
fn missing_components_line(file: &str, components: &[Component]) -> String {
    let is_text = |component: &&Component| component.is_text_encoder();
    let texts = components.iter().filter(is_text).count();
    let mut flags = vec!["--text-encoder FILE"; texts];
    if components.contains(&Component::Vae) || components.contains(&Component::VaeEncoder) {
        flags.push("--vae FILE");
    }
    let names: Vec<_> = components.iter().map(|component| component.name()).collect();
    let them = if components.len() == 1 { "it" } else { "them" };
    format!(
        "{file}: has no {}; give {them} with {}, or take {them} from another model with --parts-from MODEL",
        names.join(", no "),
        flags.join(" ")
    )
}
