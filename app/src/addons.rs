//! Small files that are added to a model: LoRAs and textual inversions.

use crate::AppError;
use crate::error::Remedy;
use latent_diffusion::embeddings::{TextualInversion, named};
use latent_diffusion::lora::Tag;
use latent_loader::Checkpoint;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Extensions of files of textual inversions. The last two are pickles: naming one is an error that says so.
const EMBEDDING_EXTENSIONS: [&str; 3] = ["safetensors", "pt", "bin"];

/// A LoRA's file and how strongly it is added. As text: `FILE` or `FILE:WEIGHT`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedLora {
    /// The file.
    pub file: PathBuf,
    /// How strongly it is added, with either sign.
    #[serde(default = "full_weight")]
    pub weight: f32,
}

fn full_weight() -> f32 {
    1.0
}

impl std::str::FromStr for WeightedLora {
    type Err = String;

    fn from_str(text: &str) -> Result<WeightedLora, String> {
        let weighted = text.rsplit_once(':').and_then(|(file, weight)| Some((file, weight.parse().ok()?)));
        let (file, weight) = weighted.unwrap_or((text, full_weight()));
        if file.is_empty() {
            return Err("there is no file name".into());
        }
        Ok(WeightedLora { file: file.into(), weight })
    }
}

impl std::fmt::Display for WeightedLora {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.weight)
    }
}

/// Textual inversions, which prompts call by the names of their files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EmbeddingFiles {
    /// Files that are always opened.
    pub files: Vec<PathBuf>,
    /// A folder of which those files are opened that a prompt names.
    pub folder: Option<PathBuf>,
}

impl EmbeddingFiles {
    /// Files that are always opened, and a folder of which those are that a prompt names.
    #[must_use]
    pub fn new(files: Vec<PathBuf>, folder: Option<PathBuf>) -> EmbeddingFiles {
        EmbeddingFiles { files, folder }
    }

    /// Whether nothing is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folder.is_none()
    }

    /// Opens the files, and those of the folder that prompts name.
    ///
    /// # Errors
    /// A folder that cannot be listed, a file that cannot be opened or is not a textual inversion.
    pub fn open(&self, prompts: &[&str]) -> Result<Vec<Arc<TextualInversion>>, AppError> {
        let mut files: Vec<(String, PathBuf)> =
            self.files.iter().map(|path| (stem(path), path.clone())).collect();
        let always = files.len();
        if let Some(folder) = &self.folder {
            files.extend(listed(folder)?);
        }
        let stems: Vec<&str> = files.iter().map(|(stem, _)| stem.as_str()).collect();
        let wanted = named(prompts, &stems);
        let is_wanted = |index: &usize| *index < always || wanted.contains(index);
        let open = |index: usize| -> Result<_, AppError> {
            let (name, path) = &files[index];
            Ok(Arc::new(TextualInversion::open(name, Checkpoint::open(path)?)?))
        };
        (0..files.len()).filter(is_wanted).map(open).collect()
    }

    /// The files of the folder that prompts name, by stem.
    pub(crate) fn named_in_folder(&self, prompts: &[&str]) -> Result<Vec<(String, PathBuf)>, AppError> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        let mut files = listed(folder)?;
        let stems: Vec<&str> = files.iter().map(|(stem, _)| stem.as_str()).collect();
        let wanted = named(prompts, &stems);
        let mut index = 0..;
        files.retain(|_| index.next().is_some_and(|index| wanted.contains(&index)));
        Ok(files)
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The files of a folder by stem, in the order of their names.
fn listed(folder: &Path) -> Result<Vec<(String, PathBuf)>, AppError> {
    let cannot = |error: std::io::Error| AppError::BadInput(format!("{}: {error}", folder.display()));
    let has_extension = |path: &Path, known: &[&str]| {
        path.extension().is_some_and(|own| known.iter().any(|known| own.eq_ignore_ascii_case(known)))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if has_extension(&path, &EMBEDDING_EXTENSIONS) && path.is_file() {
            files.push((stem(&path), path));
        }
    }
    files.sort();
    // A file that can be read goes before a pickle of the same name.
    files.sort_by_key(|(stem, path)| (stem.clone(), !has_extension(path, &EMBEDDING_EXTENSIONS[..1])));
    files.dedup_by(|later, first| later.0 == first.0);
    Ok(files)
}

/// The file of a LoRA that a prompt names: in the folder of LoRAs, or else beside the model.
pub(crate) fn tagged_lora(
    Tag { name, .. }: &Tag,
    lora_dir: Option<&Path>,
    model: Option<&Path>,
) -> Result<PathBuf, AppError> {
    let beside =
        model.map(|model| if model.is_dir() { model } else { model.parent().unwrap_or(Path::new("")) });
    let folders: Vec<&Path> = lora_dir.into_iter().chain(beside).collect();
    let file = format!("{}.safetensors", name.strip_suffix(".safetensors").unwrap_or(name));
    if let Some(path) = folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file()) {
        return Ok(path);
    }
    if folders.is_empty() {
        let message = format!("<lora:{name}>: there is no folder to look for {file} in");
        return Err(AppError::Refused { message, remedy: Remedy::LoraFolder });
    }
    let shown = |folder: &&Path| match folder.display().to_string() {
        here if here.is_empty() => ".".to_owned(),
        folder => folder,
    };
    let places = folders.iter().map(shown).collect::<Vec<_>>().join(" or ");
    Err(AppError::BadInput(format!("<lora:{name}>: there is no {file} in {places}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_may_follow_the_file() {
        let parse = |text: &str| text.parse::<WeightedLora>().map(|lora| (lora.file, lora.weight));
        assert_eq!(parse("a.safetensors").unwrap(), ("a.safetensors".into(), 1.0));
        assert_eq!(parse("a.safetensors:-0.5").unwrap(), ("a.safetensors".into(), -0.5));
        assert_eq!(parse(r"C:\a.safetensors").unwrap(), (r"C:\a.safetensors".into(), 1.0));
        assert!(parse(":1").is_err());
        assert_eq!("a:0.5".parse::<WeightedLora>().unwrap().to_string(), "a:0.5");
    }
}
