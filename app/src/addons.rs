//! Small files that are added to a model: LoRAs and textual inversions.

use crate::error::Remedy;
use crate::model_file::{is_name, locate};
use crate::{AppError, models};
use latent_diffusion::embeddings::{TextualInversion, named};
use latent_diffusion::families::{ModelKind, Probe};
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

    /// The files that prompts name, by stem: those of the folder, or without one those of the usual folders, which are
    /// textual inversions.
    pub(crate) fn named(
        &self,
        prompts: &[&str],
        models_dir: Option<&Path>,
    ) -> Result<Vec<(String, PathBuf)>, AppError> {
        let files = match &self.folder {
            Some(folder) => listed(folder)?,
            None => {
                let found = models::search(models_dir);
                with_stems(found.into_iter().filter(|path| path.is_file()).collect())
            }
        };
        // Files that are always opened go before others of their names.
        let is_other = |name: &String| !self.files.iter().any(|file| stem(file) == *name);
        let files: Vec<_> = files.into_iter().filter(|(stem, _)| is_other(stem)).collect();
        let stems: Vec<&str> = files.iter().map(|(stem, _)| stem.as_str()).collect();
        let wanted = named(prompts, &stems);
        let wanted = wanted.into_iter().map(|index| files[index].clone());
        Ok(wanted.filter(|(_, path)| self.folder.is_some() || is_kind(path, ModelKind::Embedding)).collect())
    }

    /// Names that prompts mark as those of textual inversions, as ComfyUI does, and that none of the names is.
    pub(crate) fn not_found(prompts: &[&str], names: &[String]) -> Vec<String> {
        let marked = prompts.iter().flat_map(|prompt| prompt.split("embedding:").skip(1)).map(|rest| {
            let end = rest.find(|c: char| c.is_whitespace() || ",()[]:|<>".contains(c));
            rest[..end.unwrap_or(rest.len())].to_owned()
        });
        let plain = |name: &str| name.strip_suffix(".safetensors").unwrap_or(name).to_lowercase();
        let mut lacking: Vec<String> = marked
            .filter(|name| !name.is_empty() && !names.iter().any(|known| plain(known) == plain(name)))
            .collect();
        lacking.sort();
        lacking.dedup();
        lacking
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The files of textual inversions in a folder and its sub-folders by stem, in the order of their names.
fn listed(folder: &Path) -> Result<Vec<(String, PathBuf)>, AppError> {
    let files = models::files_below(folder, &EMBEDDING_EXTENSIONS)
        .map_err(|error| AppError::BadInput(format!("{}: {error}", folder.display())))?;
    Ok(with_stems(files))
}

/// Files by stem, in the order of their names, one of each.
fn with_stems(files: Vec<PathBuf>) -> Vec<(String, PathBuf)> {
    let is_pickle =
        |path: &Path| path.extension().is_some_and(|own| !own.eq_ignore_ascii_case("safetensors"));
    let mut files: Vec<_> = files.into_iter().map(|path| (stem(&path), path)).collect();
    files.sort();
    // A file that can be read goes before a pickle of the same name, and one of the folder itself before others.
    files.sort_by_key(|(stem, path)| (stem.clone(), is_pickle(path), path.components().count()));
    files.dedup_by(|later, first| later.0 == first.0);
    files
}

/// Whether a file is of that kind, by its header.
fn is_kind(path: &Path, kind: ModelKind) -> bool {
    Checkpoint::open(path).is_ok_and(|file| Probe::of(&Arc::new(file)).identity().kind == kind)
}

/// Where LoRAs are looked for: the folder of LoRAs, the model's folder, and the usual folders of models.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoraPlaces<'a> {
    pub(crate) lora_dir: Option<&'a Path>,
    pub(crate) model: Option<&'a Path>,
    pub(crate) models_dir: Option<&'a Path>,
}

impl LoraPlaces<'_> {
    /// The file of a LoRA that a prompt names.
    ///
    /// # Errors
    /// Bad input: no such LoRA, or several.
    pub(crate) fn tagged(self, Tag { name, .. }: &Tag) -> Result<PathBuf, AppError> {
        let label = format!("<lora:{name}>");
        if let Some(path) = self.named(&label, name)? {
            return Ok(path);
        }
        let file = format!("{}.safetensors", plain(name));
        let folders = self.folders();
        if folders.is_empty() {
            let message = format!("{label}: there is no folder to look for {file} in");
            return Err(AppError::Refused { message, remedy: Remedy::LoraFolder });
        }
        let shown = |folder: &PathBuf| match folder.display().to_string() {
            here if here.is_empty() => ".".to_owned(),
            folder => folder,
        };
        let places = folders.iter().map(shown).collect::<Vec<_>>().join(" or ");
        let message = format!("{label}: there is no {file} in {places}, nor in the usual folders of models");
        Err(AppError::Refused { message, remedy: Remedy::LoraFolder })
    }

    /// The file that a person gives as a path or by its name.
    ///
    /// # Errors
    /// Bad input: a name of no LoRA, or of several.
    pub(crate) fn given(self, path: &Path) -> Result<PathBuf, AppError> {
        if path.exists() || !is_name(path) {
            return Ok(path.to_owned());
        }
        let name = path.to_string_lossy().replace('\\', "/");
        match self.named(&name, &name)? {
            Some(path) => Ok(path),
            None => models::find(path, self.models_dir),
        }
    }

    /// The folders in which all LoRAs are: that of the job, and the model's.
    fn folders(self) -> Vec<PathBuf> {
        // A model that is not found is an error of its own.
        let model = self.model.map(|model| {
            let found = locate(model, self.models_dir).unwrap_or_else(|_| model.to_owned());
            if found.is_dir() { found } else { found.parent().map_or_else(PathBuf::new, Path::to_owned) }
        });
        self.lora_dir.map(Path::to_owned).into_iter().chain(model).collect()
    }

    fn named(self, label: &str, name: &str) -> Result<Option<PathBuf>, AppError> {
        let name = plain(name);
        if let Some(folder) = self.lora_dir {
            let files = models::files_below(folder, &["safetensors"]).unwrap_or_default();
            if let Some(path) = one(label, name, Some(folder), files)? {
                return Ok(Some(path));
            }
        }
        // A model's folder may hold many other files, of which no sub-folder is looked at.
        let mut beside = self.folders().into_iter().map(|folder| folder.join(format!("{name}.safetensors")));
        if let Some(path) = beside.find(|path| path.is_file()) {
            return Ok(Some(path));
        }
        let usual = models::search(self.models_dir).into_iter().filter(|path| ends_with(path, name));
        let usual: Vec<PathBuf> = usual.filter(|path| is_kind(path, ModelKind::Lora)).collect();
        one(label, name, None, usual)
    }
}

/// The name of a LoRA without the file's ending.
fn plain(name: &str) -> &str {
    name.strip_suffix(".safetensors").unwrap_or(name)
}

/// Whether a file's path without its ending ends with the parts of a name.
fn ends_with(path: &Path, name: &str) -> bool {
    path.with_extension("").ends_with(name) || path.ends_with(format!("{name}.safetensors"))
}

/// The one of some files that a name is meant for: of a folder that very path below it, or else the only one whose path
/// ends with the name.
fn one(
    label: &str,
    name: &str,
    folder: Option<&Path>,
    files: Vec<PathBuf>,
) -> Result<Option<PathBuf>, AppError> {
    let exact = folder.map(|folder| folder.join(format!("{name}.safetensors")));
    if let Some(path) = exact.filter(|path| path.is_file()) {
        return Ok(Some(path));
    }
    let mut fitting: Vec<PathBuf> = files.into_iter().filter(|path| ends_with(path, name)).collect();
    if fitting.is_empty() {
        // The file of a sub-folder may have been moved out of it.
        let moved = folder
            .zip(name.rsplit_once('/'))
            .map(|(folder, (_, stem))| folder.join(format!("{stem}.safetensors")));
        return Ok(moved.filter(|path| path.is_file()));
    }
    if fitting.len() > 1 {
        let list: Vec<String> = fitting.iter().map(|path| path.display().to_string()).collect();
        let line =
            format!("{label}: several LoRAs have that name: {}; name the folder, too", list.join(", "));
        return Err(AppError::BadInput(line));
    }
    Ok(fitting.pop())
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
