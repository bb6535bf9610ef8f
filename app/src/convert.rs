//! A model written in another layout or dtype.

use crate::AppError;
use crate::addons::{LoraPlaces, WeightedLora};
use crate::atomic_output::ModelOutput;
use latent_diffusion::convert::{Conversion, ConvertOptions, LeftOut, OutputLayout};
use latent_diffusion::lora::{Applied, Lora, Strength};
use latent_diffusion::{Error, Listener};
use latent_loader::Checkpoint;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The layout that an output's name asks for: a single file if it ends in `.safetensors` or `.gguf`, or else a folder.
#[must_use]
pub fn layout_of(output: &Path) -> OutputLayout {
    match output.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("safetensors") => OutputLayout::Single,
        Some(extension) if extension.eq_ignore_ascii_case("gguf") => OutputLayout::Gguf,
        _ => OutputLayout::Folder,
    }
}

/// LoRAs with their files: those that are given by their names are looked for next to the model, in `models_dir` or in the usual
/// folders.
///
/// # Errors
/// Bad input: a name of no LoRA, or of several.
pub fn locate_loras(
    loras: &[WeightedLora],
    model: &Path,
    models_dir: Option<&Path>,
) -> Result<Vec<WeightedLora>, AppError> {
    let places = LoraPlaces { lora_dir: None, model: Some(model), models_dir };
    let located = |lora: &WeightedLora| Ok(WeightedLora { file: places.given(&lora.file)?, ..lora.clone() });
    loras.iter().map(located).collect()
}

/// Opens LoRAs to merge in, each with its weight.
///
/// # Errors
/// A file that cannot be opened, or is not a LoRA.
pub fn open_loras(files: &[WeightedLora]) -> Result<Vec<(Arc<Lora>, Strength)>, AppError> {
    let open = |WeightedLora { file, weight }: &WeightedLora| -> Result<_, AppError> {
        Ok((Arc::new(Lora::open(Checkpoint::open(file)?)?), Strength::from(*weight)))
    };
    files.iter().map(open).collect()
}

/// A planned conversion and the file or folder that it will write.
pub struct ConvertJob<'a> {
    path: &'a Path,
    output: ModelOutput<'a>,
    conversion: Conversion,
}

impl fmt::Debug for ConvertJob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvertJob").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What a conversion wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvertReport {
    /// Number of tensors.
    pub tensors: usize,
    /// Dtypes and how many bytes each takes, largest first.
    pub dtypes: Vec<(String, u64)>,
    /// Tensors of the old model that the new one lacks.
    pub left_out: Vec<LeftOut>,
}

impl<'a> ConvertJob<'a> {
    /// Plans a conversion from headers alone; no weight is read. `path` is what `output` was made for.
    ///
    /// # Errors
    /// As [`Conversion::plan`].
    pub fn plan(
        path: &'a Path,
        output: ModelOutput<'a>,
        checkpoint: Checkpoint,
        options: &ConvertOptions,
    ) -> Result<ConvertJob<'a>, AppError> {
        Ok(ConvertJob { path, output, conversion: Conversion::plan(checkpoint, options)? })
    }

    /// How much of each LoRA fits the model.
    #[must_use]
    pub fn applied(&self) -> &[Applied] {
        self.conversion.applied()
    }

    /// Writes the new model. Nothing is seen of it before it is whole, nor after an error.
    ///
    /// # Errors
    /// As [`Conversion::write`] and [`ModelOutput::write`].
    pub fn write(&self, listener: &mut Listener<'_>) -> Result<ConvertReport, AppError> {
        let renamed = |error: Error, temporary: &Path| match error {
            // Until it is whole it has another name, of which nobody knows.
            Error::Output { file, error } => {
                let file = file.replacen(&*temporary.to_string_lossy(), &self.path.to_string_lossy(), 1);
                Error::Output { file, error }
            }
            error => error,
        };
        self.output.write(|temporary| {
            Ok(self.conversion.write(temporary, listener).map_err(|error| renamed(error, temporary))?)
        })?;
        let dtypes = self.conversion.bytes();
        Ok(ConvertReport {
            tensors: self.conversion.tensors(),
            dtypes: dtypes.iter().map(|(dtype, bytes)| (dtype.header_name().to_owned(), *bytes)).collect(),
            left_out: self.conversion.left_out().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_asks_for_a_layout() {
        for name in ["a.safetensors", "b/a.SafeTensors"] {
            assert_eq!(layout_of(Path::new(name)), OutputLayout::Single, "{name}");
        }
        for name in ["a", "a.safetensors.d", "safetensors"] {
            assert_eq!(layout_of(Path::new(name)), OutputLayout::Folder, "{name}");
        }
    }
}
