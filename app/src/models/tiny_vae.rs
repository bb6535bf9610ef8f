//! The TAESD that fits a model, among the files in the model folders.

use super::folders::search;
use super::names::kind_of;
use super::stem;
use crate::{AppError, model_file};
use latent_diffusion::families::{ModelKind, Probe};
use latent_loader::Checkpoint;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The TAESD for a model, which is a file, a folder or a name, in a folder of models or in the usual ones. It is told by its name
/// (`LatentFormat::tiny_vae`): all have the same shapes, and another's gives other colours.
///
/// # Errors
/// Bad input: a model that none is known for, or no such file.
pub fn tiny_vae(model: Option<&Path>, models_dir: Option<&Path>) -> Result<PathBuf, AppError> {
    let none = |what: &str| AppError::BadInput(format!("fast VAE: {what}"));
    let Some(model) = model else {
        return Err(none("no TAESD is known for the built-in model, which decodes at once"));
    };
    let path = model_file::locate(model, models_dir)?;
    let family = Probe::of(&Arc::new(Checkpoint::open(&path)?)).identity().family;
    let Some(name) = family.map(|family| family.latent_format.tiny_vae) else {
        return Err(none(&format!("no TAESD is known for {}", path.display())));
    };
    let is_named = |path: &PathBuf| is_of(&stem(path), name);
    let found = search(models_dir)
        .into_iter()
        .filter(is_named)
        .find(|path| kind_of(path) == Some(ModelKind::TinyVae));
    found.ok_or_else(|| {
        none(&format!(
            "no file of the models is a {name}; put taesd's {name}.safetensors or its decoder beside them, or name it with taesd"
        ))
    })
}

/// Whether a file's name is that of a TAESD: `taesd.safetensors`, `taesd_decoder.safetensors`, but not `taesdxl…`.
fn is_of(stem: &str, name: &str) -> bool {
    let rest = stem.to_ascii_lowercase();
    let rest = rest.strip_prefix(name);
    rest.is_some_and(|rest| !rest.starts_with(|letter: char| letter.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_vae_is_told_by_its_name() {
        for (stem, is_sd, is_xl) in [
            ("taesd", true, false),
            ("TAESD_decoder", true, false),
            ("taesdxl", false, true),
            ("taesdxl-decoder", false, true),
            ("taesd3", false, false),
            ("taef1", false, false),
            ("vae", false, false),
        ] {
            assert_eq!((is_of(stem, "taesd"), is_of(stem, "taesdxl")), (is_sd, is_xl), "{stem}");
        }
    }
}
