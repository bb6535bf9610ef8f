//! Names of files in requests, found in the catalog.

use crate::error::ApiError;
use crate::models::ModelCatalog;
use latent_app::Job;
use latent_app::grid::GridAxis;
use latent_app::job::{JobOption, find_option};
use latent_diffusion::lora::take_tags;
use std::path::{Path, PathBuf};

/// Replaces the name of a file by its path, in the value of an option; of the built-in model by nothing.
pub(super) fn resolve(option: &JobOption, value: &mut String, models: &ModelCatalog) -> Result<(), ApiError> {
    let Some((name, weight)) = option.file_of(value) else { return Ok(()) };
    let found = models.find(&name.to_string_lossy())?;
    let path = match found {
        Some(path) => path,
        None if option.name() == "model" => {
            value.clear();
            return Ok(());
        }
        None => {
            return Err(ApiError::bad_input(format!("{}: the built-in model has no file", option.name())));
        }
    };
    let path = path.to_str();
    let path =
        path.ok_or_else(|| ApiError::bad_input(format!("{}: its path is not UTF-8", option.name())))?;
    *value = format!("{path}{weight}");
    Ok(())
}

/// The same for the values of a side of a grid.
pub(super) fn resolve_axis(axis: &mut GridAxis, models: &ModelCatalog) -> Result<(), ApiError> {
    let option = find_option(&axis.option)?;
    check_axis(option)?;
    for value in &mut axis.values {
        resolve(option, value, models)?;
        if value.is_empty() {
            return Err(ApiError::bad_input("the built-in model cannot be in a grid with others"));
        }
    }
    Ok(())
}

/// Refuses an option that is not drawn in a grid: those of folders and images, and of the device.
pub(crate) fn check_axis(option: &JobOption) -> Result<(), ApiError> {
    if matches!(
        option.name(),
        "models-dir"
            | "lora-dir"
            | "embd-dir"
            | "wildcards"
            | "image"
            | "mask"
            | "control-image"
            | "ip-adapter-image"
            | "device"
            | "precision"
            | "max-vram"
    ) {
        return Err(ApiError::bad_input(format!("{}: cannot be the side of a grid", option.name())));
    }
    Ok(())
}

/// The folder of the LoRAs that a job's prompts name: the server's, or where the catalog has them.
pub(super) fn lora_dir(
    job: &Job,
    models: &ModelCatalog,
    own: Option<&Path>,
) -> Result<Option<PathBuf>, ApiError> {
    let mut folder: Option<PathBuf> = None;
    for prompt in [&job.prompt, &job.negative_prompt] {
        let (_, tags) = take_tags(prompt).map_err(latent_app::AppError::from)?;
        for tag in tags {
            let file = format!("{}.safetensors", tag.name.strip_suffix(".safetensors").unwrap_or(&tag.name));
            if own.is_some_and(|own| own.join(&file).is_file()) {
                folder.get_or_insert(own.map(Path::to_owned).unwrap_or_default());
                continue;
            }
            // One that is not found is an error of the job itself, which may have it beside its model.
            let Ok(Some(path)) = models.find(&tag.name) else { continue };
            let parent = path.parent().map(Path::to_owned).unwrap_or_default();
            if folder.as_ref().is_some_and(|folder| *folder != parent) {
                let line = format!(
                    "prompt: <lora:{}> is in another folder than the other LoRAs; give them by the option lora",
                    tag.name
                );
                return Err(ApiError::bad_input(line).at("prompt"));
            }
            folder = Some(parent);
        }
    }
    Ok(folder.or_else(|| own.map(Path::to_owned)))
}
