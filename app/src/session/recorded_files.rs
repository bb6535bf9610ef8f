//! The options of a job as they were given, and the files among them, so that an image's metadata say how to draw it again.
//!
//! Files are recorded by their names and hashes and never by their folders, which are nobody's business.

use crate::hash::{self, BackgroundHash, ContentHash, HashSource};
use crate::job::{ControlOptions, ImageSource, Job, JobOption, JobOptionKind, JobTask, OPTIONS};
use crate::prompts::ResolvedPrompts;
use crate::{AppError, model_file, models};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The option under which a LoRA that a prompt names is recorded.
pub(crate) const TAGGED_LORA: &str = "<lora>";

/// A file that an image was made with.
#[derive(Debug)]
struct RecordedFile {
    option: &'static str,
    name: String,
    hash: RecordedHash,
}

#[derive(Debug)]
enum RecordedHash {
    /// Computed in the background.
    Pending(BackgroundHash),
    Known(ContentHash),
}

/// The options as they were given, by name, and the files among them, whose hashes are computed in the background.
#[derive(Debug)]
pub(super) struct RecordedOptions {
    /// OutputTexts, in which files have no folders; `true` for a switch.
    pub(super) options: Map<String, Value>,
    files: Vec<RecordedFile>,
}

impl RecordedOptions {
    /// Those of a job, the LoRAs that its prompts name, and the textual inversions that they name and that are used.
    pub(super) fn of(
        job: &Job,
        prompts: &ResolvedPrompts,
        embeddings: &[PathBuf],
    ) -> Result<RecordedOptions, AppError> {
        let mut recorded = RecordedOptions { options: Map::new(), files: Vec::new() };
        for option in OPTIONS.iter().filter(|option| option.is_recorded()) {
            let texts = option.texts(job);
            if texts.is_empty() || job.implied.contains(option.name()) {
                continue;
            }
            let value = match option.kind() {
                JobOptionKind::Switch => true.into(),
                _ => recorded.with_files(job, option, &texts)?.into(),
            };
            recorded.options.insert(option.name().to_owned(), value);
        }
        let mut loras: Vec<&Path> = prompts.loras.iter().map(|(_, path)| path.as_path()).collect();
        loras.dedup();
        for path in loras {
            recorded.push(job, TAGGED_LORA, path)?;
        }
        for path in embeddings {
            recorded.push(job, "embedding", path)?;
        }
        Ok(recorded)
    }

    /// Keeps the files among the values of an option; the values with names in place of paths.
    fn with_files(
        &mut self,
        job: &Job,
        option: &JobOption,
        texts: &[String],
    ) -> Result<Vec<String>, AppError> {
        let mut names = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            let Some((path, weight)) = option.file_of(text) else {
                names.push(text.clone());
                continue;
            };
            names.push(format!("{}{weight}", name_of(&path)));
            // The model's own hash is recorded beside its name.
            if option.name() == "model" {
                continue;
            }
            match inline(job, option.name(), i) {
                Some(ImageSource::Inline(image)) => self.files.push(RecordedFile {
                    option: option.name(),
                    name: name_of(&path),
                    hash: RecordedHash::Known(ContentHash::File(hash::of_bytes(&image.bytes))),
                }),
                _ => self.push(job, option.name(), &path)?,
            }
        }
        Ok(names)
    }

    fn push(&mut self, job: &Job, option: &'static str, path: &Path) -> Result<(), AppError> {
        // Models may be given by their names.
        let path = match option {
            "lora" => job.model.lora_places().given(path)?,
            _ => {
                model_file::locate_kind(path, job.model.models_dir.as_deref(), model_file::kinds_of(option))?
            }
        };
        let name = name_of(&path);
        let hash = RecordedHash::Pending(BackgroundHash::of(HashSource::at(path)));
        self.files.push(RecordedFile { option, name, hash });
        Ok(())
    }

    /// Begins to compute the hashes, if that has not begun.
    pub(super) fn begin(&self) {
        for file in &self.files {
            if let RecordedHash::Pending(hash) = &file.hash {
                hash.begin();
            }
        }
    }

    /// The files with their hashes, which are waited for and given once.
    pub(super) fn files(&self) -> Value {
        let json = |file: &RecordedFile| {
            let hash = match &file.hash {
                RecordedHash::Pending(hash) => hash.wait(),
                RecordedHash::Known(hash) => Some(hash.clone()),
            };
            let sha256 = hash.as_ref().and_then(ContentHash::of_file);
            let mut json = json!({ "flag": file.option, "name": file.name, "sha256": sha256 });
            if let Some(digits) = hash.as_ref().and_then(ContentHash::of_folder) {
                json["folder_sha256"] = digits.into();
            }
            json
        };
        self.files.iter().map(json).collect()
    }
}

/// The image of an option that takes one.
fn inline<'a>(job: &'a Job, option: &str, index: usize) -> Option<&'a ImageSource> {
    match (option, &job.task) {
        ("image", task) => task.image(),
        ("mask", JobTask::Inpaint(task)) => task.mask.as_ref(),
        ("ip-adapter-image", _) => job.image_prompts.get(index).map(|prompt| &prompt.image),
        ("control-image", _) => job.control.get(index).map(|ControlOptions { image, .. }| image),
        _ => None,
    }
}

/// A file's name, a folder's, or the repository's of a snapshot in the Hugging Face cache.
fn name_of(path: &Path) -> String {
    if path.is_dir() {
        return models::stem(path);
    }
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(task: &str, options: &[(&str, &[&str])]) -> RecordedOptions {
        let mut job = Job::new(JobTask::named(task).unwrap(), "a cat");
        options.iter().for_each(|(name, values)| job.set(name, values).unwrap());
        RecordedOptions::of(&job, &ResolvedPrompts::of(&job, &[0]).unwrap(), &[]).unwrap()
    }

    #[test]
    fn folders_are_not_recorded_and_weights_are() {
        let recorded = recorded(
            "img2img",
            &[
                ("image", &["/home/me/in.png"]),
                ("lora", &["/home/me/ink.safetensors:0.5"]),
                ("seed", &["3"]),
                ("vae", &["../v.safetensors"]),
                ("strength", &["0.3"]),
                ("lora-dir", &["/home/me"]),
            ],
        );
        let want = json!({
            "image": ["in.png"], "lora": ["ink.safetensors:0.5"], "vae": ["v.safetensors"], "strength": ["0.3"],
        });
        assert_eq!(Value::Object(recorded.options), want);
        let files: Vec<_> = recorded.files.iter().map(|file| (file.option, file.name.as_str())).collect();
        assert_eq!(files, [("image", "in.png"), ("vae", "v.safetensors"), ("lora", "ink.safetensors")]);
    }

    #[test]
    fn switches_and_lists() {
        let recorded = recorded(
            "inpaint",
            &[
                ("image", &["/home/me/in.png"]),
                ("mask", &["/home/me/masks/m.png"]),
                ("only-masked", &[]),
                ("sigmas", &["9", "1", "0"]),
            ],
        );
        let want =
            json!({ "image": ["in.png"], "mask": ["m.png"], "only-masked": true, "sigmas": ["9", "1", "0"] });
        assert_eq!(Value::Object(recorded.options), want);
    }

    #[test]
    fn ways_to_enlarge_are_not_files() {
        let files =
            |way: &str| recorded("txt2img", &[("hires", &[]), ("hires-upscaler", &[way])]).files.len();
        assert_eq!((files("latent"), files("4x.safetensors")), (0, 1));
    }
}
