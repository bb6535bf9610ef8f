//! Files found by the names that people have for them: the file's own, with or without its ending, behind the folders that it is
//! in, in any case where only one is meant, or the name that its trainer gave it.

use super::folders::{is_extension, stem, without_twins};
use crate::AppError;
use latent_diffusion::families::{ModelKind, Probe};
use latent_loader::Checkpoint;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The key of the metadata in which kohya's trainer records the name that its user chose.
const TRAINED_NAME: &str = "ss_output_name";
/// How alike names are that are named in an error, 0 to 1.
const MIN_LIKENESS: f64 = 0.8;
/// Maximum number of names that are named in an error.
const MAX_NEAR: usize = 3;
/// Maximum number of files whose headers are read to look for a trainer's name.
const MAX_HEADERS: usize = 2000;

/// What a name is looked for as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameSearch<'a> {
    /// The name, for messages.
    pub(crate) label: &'a str,
    /// The name, with `/` between folders.
    pub(crate) name: &'a str,
    /// What is looked for, for messages: "models".
    pub(crate) what: &'a str,
    /// The kinds of files that are meant where several have the name; all if it is empty.
    pub(crate) kinds: &'a [ModelKind],
    /// Whether files of other kinds are never meant.
    pub(crate) is_strict: bool,
}

impl NameSearch<'_> {
    /// The file among some that the name is meant for: by its own name, else in any case.
    ///
    /// # Errors
    /// Bad input: several that fit as well.
    pub(crate) fn among(&self, files: &[PathBuf]) -> Result<Option<PathBuf>, AppError> {
        for is_exact in [true, false] {
            let fitting = files.iter().filter(|path| ends_with(path, self.name, is_exact));
            if let Some(path) = self.only(fitting.cloned().collect())? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// The file among some to which its trainer gave the name. Headers are read.
    ///
    /// # Errors
    /// Bad input: several.
    pub(crate) fn by_trained_name(&self, files: &[PathBuf]) -> Result<Option<PathBuf>, AppError> {
        let is_named = |path: &&PathBuf| {
            let checkpoint = Checkpoint::open(path).ok();
            let name = checkpoint.as_ref().and_then(|file| file.metadata().get(TRAINED_NAME));
            name.is_some_and(|name| is_same(name, self.name, false))
        };
        self.only(files.iter().take(MAX_HEADERS).filter(is_named).cloned().collect())
    }

    fn only(&self, mut fitting: Vec<PathBuf>) -> Result<Option<PathBuf>, AppError> {
        let is_meant = |path: &PathBuf| kind_of(path).is_some_and(|kind| self.kinds.contains(&kind));
        if self.is_strict {
            fitting.retain(is_meant);
        }
        fitting = without_twins(fitting);
        // One file may be reached by several ways.
        let mut seen = Vec::new();
        fitting.retain(|path| {
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            let is_new = !seen.contains(&real);
            seen.push(real);
            is_new
        });
        if fitting.len() > 1 && !self.is_strict && !self.kinds.is_empty() {
            let meant: Vec<PathBuf> = fitting.iter().filter(|path| is_meant(path)).cloned().collect();
            if !meant.is_empty() {
                fitting = meant;
            }
        }
        if fitting.len() > 1 {
            let list: Vec<String> = fitting.iter().map(|path| path.display().to_string()).collect();
            let (label, what, list) = (self.label, self.what, list.join(", "));
            let line = format!("{label}: several {what} have that name: {list}; name the folder, too");
            return Err(AppError::BadInput(line));
        }
        Ok(fitting.pop())
    }

    /// The end of a sentence that says that nothing has the name: the names that are most like it.
    pub(crate) fn near(&self, files: &[PathBuf]) -> String {
        let wanted = plain(self.name).rsplit('/').next().unwrap_or_default().to_lowercase();
        let mut names: Vec<(f64, String)> = files
            .iter()
            .map(|path| stem(path))
            .map(|name| (likeness(&wanted, &name.to_lowercase()), name))
            .filter(|(likeness, _)| *likeness >= MIN_LIKENESS)
            .collect();
        names.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        names.dedup_by(|later, first| later.1 == first.1);
        let names: Vec<String> = names.into_iter().take(MAX_NEAR).map(|(_, name)| name).collect();
        if names.is_empty() { String::new() } else { format!("; names like it: {}", names.join(", ")) }
    }
}

/// How alike two names are. A part of the other counts, where it is not very short.
fn likeness(wanted: &str, name: &str) -> f64 {
    let is_part =
        wanted.chars().count() >= 4 && (name.contains(wanted) || wanted.contains(name) && name.len() >= 4);
    if is_part { 1.0 } else { strsim::jaro_winkler(wanted, name) }
}

/// A name without the ending of a model file.
pub(crate) fn plain(name: &str) -> &str {
    let ending = name.rsplit_once('.').filter(|(_, ending)| is_extension(ending));
    ending.map_or(name, |(stem, _)| stem)
}

/// Whether a file's path, with or without its ending, ends with the parts of a name.
fn ends_with(path: &Path, name: &str, is_exact: bool) -> bool {
    let ends = |path: &Path, name: &str| {
        let mut parts = path.components().rev();
        name.split('/').rev().all(|part| {
            let own = parts.next().map(|own| own.as_os_str().to_string_lossy().into_owned());
            own.is_some_and(|own| is_same(&own, part, is_exact))
        })
    };
    // A snapshot in the Hugging Face cache has the name of its repository.
    ends(path, name)
        || (!path.is_dir()
            && (ends(&path.with_extension(""), name) || ends(&path.with_extension(""), plain(name))))
        || is_same(&stem(path), name, is_exact)
}

fn is_same(own: &str, name: &str, is_exact: bool) -> bool {
    if is_exact { own == name } else { own.to_lowercase() == name.to_lowercase() }
}

/// What a file is, by its header.
pub(crate) fn kind_of(path: &Path) -> Option<ModelKind> {
    Checkpoint::open(path).ok().map(|file| Probe::of(&Arc::new(file)).identity().kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_folders_and_endings_or_not() {
        let fits =
            |name: &str, is_exact| ends_with(Path::new("loras/style/Deep.v1.safetensors"), name, is_exact);
        for name in ["Deep.v1", "style/Deep.v1", "Deep.v1.safetensors", "loras/style/Deep.v1.safetensors"] {
            assert!(fits(name, true), "{name}");
        }
        assert!(fits("DEEP.V1", false) && fits("Style/deep.v1.SAFETENSORS", false));
        assert!(
            !fits("DEEP.V1", true)
                && !fits("Deep", false)
                && !fits("eep.v1", false)
                && !fits("x/Deep.v1", false)
        );
    }

    #[test]
    fn near_names_are_alike_or_contain_it() {
        let files =
            ["a/my_style_v2.safetensors", "b/watercolour.safetensors", "c/x.safetensors"].map(PathBuf::from);
        let near =
            |name| NameSearch { label: name, name, what: "LoRAs", kinds: &[], is_strict: false }.near(&files);
        assert_eq!(near("my_style"), "; names like it: my_style_v2");
        assert_eq!(near("sub/watercolor.safetensors"), "; names like it: watercolour");
        assert_eq!(near("qqqq"), "");
    }
}
