//! The flags of a command as they were given, so that an image's file tells how to draw it again.
//!
//! Files are told by their names and hashes and never by their folders, which are nobody's business.

use super::hires::OWN_WAYS;
use crate::hash::{BackgroundHash, HashSource};
use crate::lora;
use crate::model;
use clap::{Arg, ArgMatches, Command, parser::ValueSource};
use latent_app::AppError;
use latent_app::models;
use serde_json::{Map, Value, json};
use std::any::TypeId;
use std::path::{Path, PathBuf};

/// Flags that change nothing in an image, name places, or are told elsewhere: the seed and the words are each image's.
pub(crate) const NOT_TOLD: [&str; 22] = [
    "output",
    "batch_count",
    "batch_size",
    "threads",
    "low_memory",
    "vae_tiling",
    "verbose",
    "device",
    "precision",
    "max_vram",
    "preview",
    "preview_interval",
    "grid",
    "models_dir",
    "lora_dir",
    "embd_dir",
    "seed",
    "prompt",
    "prompt_flag",
    "negative_prompt",
    "words",
    // The prompt is told as it was drawn.
    "wildcards",
];

/// The flag under which a LoRA that a prompt names is told.
pub(crate) const TAGGED: &str = "<lora>";

/// Flags by their long names, and the files among them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// The values' texts, in which files have no folders; `true` for a switch.
    flags: Map<String, Value>,
    files: Vec<(String, PathBuf)>,
}

impl Given {
    /// What was given to a command.
    pub(crate) fn of(command: &Command, matches: &ArgMatches) -> Given {
        let mut given = Given::default();
        for arg in command.get_arguments() {
            let id = arg.get_id().as_str();
            if NOT_TOLD.contains(&id) || !is_given(matches, id) {
                continue;
            }
            let name = arg.get_long().unwrap_or(id);
            if !arg.get_action().takes_values() {
                given.flags.insert(name.to_owned(), true.into());
                continue;
            }
            let mut texts = Vec::new();
            for value in matches.get_raw(id).into_iter().flatten() {
                let text = value.to_string_lossy();
                texts.push(match file_of(arg, &text) {
                    Some((path, weight)) => {
                        let name = name_of(&path);
                        given.files.push((arg.get_long().unwrap_or(id).to_owned(), path));
                        format!("{name}{weight}")
                    }
                    None => text.into_owned(),
                });
            }
            given.flags.insert(name.to_owned(), texts.into());
        }
        given
    }

    /// A file that was given by its place in the line.
    pub(crate) fn with_file(mut self, flag: &str, path: PathBuf) -> Given {
        self.flags.insert(flag.to_owned(), vec![name_of(&path)].into());
        self.files.push((flag.to_owned(), path));
        self
    }

    /// Leaves out flags that a person did not give.
    pub(crate) fn forget<'a>(&mut self, flags: impl IntoIterator<Item = &'a String>) {
        for flag in flags {
            self.flags.remove(flag);
        }
    }

    pub(crate) fn flags(&self) -> &Map<String, Value> {
        &self.flags
    }

    /// The files, and others that were used, with hashes on the way.
    pub(crate) fn files(
        &self,
        used: Vec<(String, PathBuf)>,
        models_dir: Option<&Path>,
    ) -> Result<Files, AppError> {
        let mut files = Vec::new();
        // The model's own hash is told beside its name.
        let own = self.files.iter().filter(|(flag, _)| flag != "model").cloned();
        for (flag, path) in own.chain(used) {
            // Models may be given by their names.
            let path = model::locate(&path, models_dir)?;
            let name = name_of(&path);
            let hash =
                BackgroundHash::of(if path.is_file() { HashSource::File(path) } else { HashSource::Nothing });
            files.push(File { flag, name, hash });
        }
        Ok(Files(files))
    }
}

/// Whether a person gave a flag.
pub(crate) fn is_given(matches: &ArgMatches, id: &str) -> bool {
    let source = matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id));
    source == Some(ValueSource::CommandLine)
}

/// The file that a value is, and what stands behind it.
pub(crate) fn file_of(arg: &Arg, text: &str) -> Option<(PathBuf, String)> {
    if arg.get_id() == "hires_upscaler" && OWN_WAYS.contains(&text) {
        return None;
    }
    let kind = arg.get_value_parser().type_id();
    if kind == TypeId::of::<lora::Weighted>() {
        let (path, _) = lora::parse(text).ok()?;
        let weight = text[path.as_os_str().len().min(text.len())..].to_owned();
        return Some((path, weight));
    }
    (kind == TypeId::of::<PathBuf>()).then(|| (PathBuf::from(text), String::new()))
}

/// A file's name, a folder's, or the repository's of a snapshot in the Hugging Face cache.
fn name_of(path: &Path) -> String {
    if path.is_dir() {
        return models::stem(path);
    }
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A file that an image was made with.
struct File {
    flag: String,
    name: String,
    hash: BackgroundHash,
}

/// All such files, whose hashes are computed in the background.
pub(crate) struct Files(Vec<File>);

impl Files {
    /// Now is a good time to hash.
    pub(crate) fn begin(&self) {
        self.0.iter().for_each(|file| file.hash.begin());
    }

    /// The files with their hashes, which are waited for and given once.
    pub(crate) fn json(&self) -> Value {
        let file = |file: &File| json!({ "flag": file.flag, "name": file.name, "sha256": file.hash.wait() });
        self.0.iter().map(file).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;

    fn given(line: &[&str]) -> Given {
        let mut args = Args::read(line).unwrap();
        args.command.drawing().unwrap().given.clone()
    }

    #[test]
    fn folders_are_not_told_and_weights_are() {
        let line = [
            "latent",
            "img2img",
            "/home/me/in.png",
            "a cat",
            "--lora",
            "/home/me/ink.safetensors:0.5",
            "--seed",
            "3",
        ];
        let more = [
            "--vae",
            "../v.safetensors",
            "--strength",
            "0.3",
            "-o",
            "/home/me/out.png",
            "--lora-dir",
            "/home/me",
        ];
        let given = given(&[&line[..], &more].concat());
        let want = json!({
            "image": ["in.png"], "lora": ["ink.safetensors:0.5"], "vae": ["v.safetensors"], "strength": ["0.3"],
        });
        assert_eq!(Value::Object(given.flags.clone()), want);
        assert_eq!(given.files.len(), 3);
        assert_eq!(given.files[0], ("image".to_owned(), PathBuf::from("/home/me/in.png")));
    }

    #[test]
    fn switches_defaults_and_places() {
        let line =
            ["latent", "inpaint", "in.png", "masks/m.png", "a cat", "--only-masked", "--sigmas", "9,1,0"];
        let given = given(&line);
        let want =
            json!({ "image": ["in.png"], "mask": ["m.png"], "only-masked": true, "sigmas": ["9", "1", "0"] });
        assert_eq!(Value::Object(given.flags), want);
    }

    #[test]
    fn ways_to_enlarge_are_no_files() {
        let files =
            |way: &str| given(&["latent", "txt2img", "a", "--hires", "--hires-upscaler", way]).files.len();
        assert_eq!((files("latent"), files("4x.safetensors")), (0, 1));
    }
}
