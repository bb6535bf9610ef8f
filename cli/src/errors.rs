//! Errors in the words of the command line.

use latent_app::{AppError, Remedy};
use latent_diffusion::families::Component;

/// An error with the flags that help.
pub(crate) fn describe(error: &AppError) -> String {
    match error {
        AppError::Refused { message, remedy } => match flags(*remedy) {
            Some(advice) => format!("{message}; {advice}"),
            None => error.to_string(),
        },
        AppError::MissingComponents { file, components } => missing_components(file, components),
        error => error.to_string(),
    }
}

/// The flags for what can be done.
fn flags(remedy: Remedy) -> Option<&'static str> {
    Some(match remedy {
        Remedy::ListDevices => "see latent devices",
        Remedy::SearchFolder => "name its folder by --from",
        Remedy::AcceptOtherFiles => "--force takes it",
        Remedy::LeaveOut => "--force leaves it out",
        Remedy::NameModel => "give the model by --model",
        Remedy::LoraFolder => "name one by --lora-dir",
        Remedy::Replace => "--force replaces it",
        Remedy::AcceptCost => "--yes draws it",
        Remedy::StreamWeights => "--low-memory reads them so",
        _ => return None,
    })
}

/// One line for parts that are lacking, with the flags that give them.
fn missing_components(file: &str, components: &[Component]) -> String {
    let texts = components.iter().filter(|component| component.is_text_encoder());
    let mut flags: Vec<_> = texts
        .map(|component| match component {
            Component::T5 => "--t5 FILE",
            Component::Qwen3 => "--llm FILE",
            _ => "--text-encoder FILE",
        })
        .collect();
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
