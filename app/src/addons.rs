//! Small files that are added to a model: LoRAs and textual inversions.

use crate::error::Remedy;
use crate::model_file::{MODELS, is_name, kinds_of, locate_kind};
use crate::models::{EXTENSIONS, NameSearch, kind_of, plain};
use crate::{AppError, models};
use latent_diffusion::embeddings::{TextualInversion, named};
use latent_diffusion::families::ModelKind;
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

    /// Opens the files, and those of the folder that prompts name. Files may be given by their names, which are looked for in
    /// `models_dir` or in the usual folders.
    ///
    /// # Errors
    /// A folder that cannot be listed, a file that is not found, cannot be opened or is not a textual inversion.
    pub fn open(
        &self,
        prompts: &[&str],
        models_dir: Option<&Path>,
    ) -> Result<Vec<Arc<TextualInversion>>, AppError> {
        let given = |path: &PathBuf| locate_kind(path, models_dir, kinds_of("embedding"));
        let always = self.files.iter().map(given).collect::<Result<Vec<_>, _>>()?;
        let mut files: Vec<(String, PathBuf)> =
            always.iter().map(|path| (stem(path), path.clone())).collect();
        if let Some(folder) = &self.folder {
            files.extend(listed(folder)?);
        }
        let wanted = named_among(prompts, &files)?;
        let is_wanted = |index: &usize| *index < always.len() || wanted.iter().any(|(at, _)| at == index);
        let open = |index: usize| -> Result<_, AppError> {
            let (stem, path) = &files[index];
            let written = wanted.iter().find(|(at, _)| *at == index).and_then(|(_, name)| name.as_ref());
            Ok(Arc::new(TextualInversion::open(written.unwrap_or(stem), Checkpoint::open(path)?)?))
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
        let is_other = |name: &String| !self.files.iter().any(|file| stem(file).eq_ignore_ascii_case(name));
        let files: Vec<_> = files.into_iter().filter(|(stem, _)| is_other(stem)).collect();
        let wanted = named_among(prompts, &files)?.into_iter().map(|(index, _)| files[index].clone());
        Ok(wanted
            .filter(|(_, path)| self.folder.is_some() || kind_of(path) == Some(ModelKind::Embedding))
            .collect())
    }

    /// Names that prompts mark as those of textual inversions, as ComfyUI does, and that none of the names is; each with the
    /// names that are like it, as the end of a sentence.
    pub(crate) fn not_found(
        &self,
        prompts: &[&str],
        names: &[String],
        models_dir: Option<&Path>,
    ) -> Vec<(String, String)> {
        let is_known =
            |name: &String| names.iter().any(|known| plain(known).eq_ignore_ascii_case(plain(name)));
        let lacking: Vec<String> = marked(prompts).into_iter().filter(|name| !is_known(name)).collect();
        if lacking.is_empty() {
            return Vec::new();
        }
        let files: Vec<PathBuf> = match &self.folder {
            Some(folder) => models::files_below(folder, &EMBEDDING_EXTENSIONS).unwrap_or_default(),
            None => models::search(models_dir).into_iter().collect(),
        };
        let near = |name: &String| NameSearch { name, ..embedding_search(name) }.near(&files);
        lacking.into_iter().map(|name| (name.clone(), near(&name))).collect()
    }
}

fn embedding_search(name: &str) -> NameSearch<'_> {
    let kinds = kinds_of("embedding");
    NameSearch { label: name, name, what: "textual inversions", kinds, is_strict: false }
}

/// The names that prompts mark as those of textual inversions, sorted.
fn marked(prompts: &[&str]) -> Vec<String> {
    let marked = prompts.iter().flat_map(|prompt| prompt.split("embedding:").skip(1)).map(|rest| {
        let end = rest.find(|c: char| c.is_whitespace() || ",()[]:|<>".contains(c));
        rest[..end.unwrap_or(rest.len())].to_owned()
    });
    let mut names: Vec<String> = marked.filter(|name| !name.is_empty()).collect();
    names.sort();
    names.dedup();
    names
}

/// The indices of the files that prompts name, by stem or as a marked path below a folder; then the name as it is written.
fn named_among(
    prompts: &[&str],
    files: &[(String, PathBuf)],
) -> Result<Vec<(usize, Option<String>)>, AppError> {
    let stems: Vec<&str> = files.iter().map(|(stem, _)| stem.as_str()).collect();
    let mut wanted: Vec<_> = named(prompts, &stems).into_iter().map(|index| (index, None)).collect();
    let paths: Vec<PathBuf> = files.iter().map(|(_, path)| path.clone()).collect();
    // A backslash escapes a character in prompts.
    for name in marked(prompts).into_iter().filter(|name| name.contains('/')) {
        let found = embedding_search(&name).among(&paths)?;
        let index = found.and_then(|found| paths.iter().position(|path| *path == found));
        wanted.extend(index.map(|index| (index, Some(name))));
    }
    // A path contains the stem, which is then meant by the path.
    wanted.sort_by_key(|(index, name)| (*index, name.is_none()));
    wanted.dedup_by_key(|(index, _)| *index);
    Ok(wanted)
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

/// Where LoRAs are looked for: the folder of LoRAs, the model's folder, and the usual folders of models.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoraPlaces<'a> {
    pub(crate) lora_dir: Option<&'a Path>,
    pub(crate) model: Option<&'a Path>,
    pub(crate) models_dir: Option<&'a Path>,
}

/// The files of the places where LoRAs are looked for.
struct LoraFiles {
    /// Of the folder of LoRAs and its sub-folders.
    own: Vec<PathBuf>,
    /// Next to the model: its folder may hold many other files, of which no sub-folder is looked at.
    beside: Vec<PathBuf>,
    /// Of the usual folders.
    usual: Vec<PathBuf>,
}

impl LoraPlaces<'_> {
    /// The file of a LoRA that a prompt names.
    ///
    /// # Errors
    /// Bad input: no such LoRA, or several.
    pub(crate) fn tagged(self, Tag { name, .. }: &Tag) -> Result<PathBuf, AppError> {
        let label = format!("<lora:{name}>");
        let (found, near) = self.named(&label, name)?;
        if let Some(path) = found {
            return Ok(path);
        }
        let file = format!("{}.safetensors", plain(name));
        let folders = self.folders();
        if folders.is_empty() {
            let message = format!("{label}: there is no folder to look for {file} in{near}");
            return Err(AppError::Refused { message, remedy: Remedy::LoraFolder });
        }
        let shown = |folder: &PathBuf| match folder.display().to_string() {
            here if here.is_empty() => ".".to_owned(),
            folder => folder,
        };
        let places = folders.iter().map(shown).collect::<Vec<_>>().join(" or ");
        let message =
            format!("{label}: there is no {file} in {places}, nor in the usual folders of models{near}");
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
            (Some(path), _) => Ok(path),
            (None, near) if near.is_empty() => locate_kind(path, self.models_dir, kinds_of("lora")),
            (None, near) => Err(models::not_found(path, &near)),
        }
    }

    /// The folders in which all LoRAs are: that of the job, and the model's.
    fn folders(self) -> Vec<PathBuf> {
        self.lora_dir.map(Path::to_owned).into_iter().chain(self.model_folder()).collect()
    }

    /// The folder of the model, or that in which its file is.
    fn model_folder(self) -> Option<PathBuf> {
        self.model.map(|model| {
            // A model that is not found is an error of its own.
            let found = locate_kind(model, self.models_dir, &MODELS).unwrap_or_else(|_| model.to_owned());
            if found.is_dir() { found } else { found.parent().map_or_else(PathBuf::new, Path::to_owned) }
        })
    }

    fn files(self) -> LoraFiles {
        let own = self.lora_dir.map(|folder| models::files_below(folder, &EXTENSIONS).unwrap_or_default());
        let beside = self.model_folder().map(|folder| {
            let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            let entries = std::fs::read_dir(listed).into_iter().flatten().flatten();
            let mut files: Vec<PathBuf> = entries
                .map(|entry| folder.join(entry.file_name()))
                .filter(|path| models::is_adapter(path) || (has_extension(path) && path.is_file()))
                .collect();
            files.sort();
            files
        });
        let usual = models::search(self.models_dir).into_iter().collect();
        LoraFiles { own: own.unwrap_or_default(), beside: beside.unwrap_or_default(), usual }
    }

    /// The file of a name, or else the names that are like it, as the end of a sentence.
    fn named(self, label: &str, name: &str) -> Result<(Option<PathBuf>, String), AppError> {
        let files = self.files();
        let search = NameSearch { label, name, what: "LoRAs", kinds: kinds_of("lora"), is_strict: false };
        // Of the usual folders, where files of all kinds are, only LoRAs are meant.
        let strict = NameSearch { is_strict: true, ..search };
        let places = [(&files.own, search), (&files.beside, search), (&files.usual, strict)];
        if let Some(path) = self.lora_dir.and_then(|folder| right_in(folder, name)) {
            return Ok((Some(path), String::new()));
        }
        for (files, search) in places {
            if let Some(path) = search.among(files)? {
                return Ok((Some(path), String::new()));
            }
        }
        // The file of a sub-folder may have been moved out of it.
        let moved = self.lora_dir.zip(name.rsplit_once('/'));
        if let Some(path) = moved.and_then(|(folder, (_, stem))| right_in(folder, stem)) {
            return Ok((Some(path), String::new()));
        }
        for (files, _) in places {
            if let Some(path) = strict.by_trained_name(files)? {
                return Ok((Some(path), String::new()));
            }
        }
        Ok((None, search.near(&[files.own, files.beside, files.usual].concat())))
    }
}

/// The file or adapter of that very name in a folder.
fn right_in(folder: &Path, name: &str) -> Option<PathBuf> {
    let with_ending = EXTENSIONS.map(|ending| folder.join(format!("{}.{ending}", plain(name))));
    let adapter = Some(folder.join(name)).filter(|path| models::is_adapter(path));
    with_ending.into_iter().find(|path| path.is_file()).or(adapter)
}

fn has_extension(path: &Path) -> bool {
    path.extension().and_then(|ending| ending.to_str()).is_some_and(models::is_extension)
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
