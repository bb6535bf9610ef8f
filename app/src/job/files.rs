//! The files, folders and images of a job, for programs that move it to another machine.

use super::control::ControlOptions;
use super::data::{Job, ModelSelection, SdxlOptions};
use super::image_prompt::ImagePromptOptions;
use super::options::built_in_upscalers;
use super::source::ImageSource;
use super::task::{HiresOptions, InpaintTask, JobTask, Txt2imgTask};
use crate::addons::EmbeddingFiles;
use crate::model_file::PartFiles;
use std::path::{Path, PathBuf};

/// What a job takes from a disk.
#[derive(Debug)]
#[non_exhaustive]
pub struct JobFiles<'a> {
    /// Files: models, parts of them and what is added. Upscalers that are built in are not among them.
    pub files: Vec<&'a mut PathBuf>,
    /// Folders in which names are looked up: of models, LoRAs, textual inversions and wildcards.
    pub folders: [&'a mut Option<PathBuf>; 4],
    /// Images.
    pub images: Vec<&'a mut ImageSource>,
}

impl Job {
    /// All that it takes from a disk.
    pub fn files_mut(&mut self) -> JobFiles<'_> {
        // Each field by its name, so that one that is added later is not forgotten here.
        let Job {
            task,
            wildcards,
            model,
            sdxl,
            control,
            image_prompts,
            taesd,
            prompt: _,
            negative_prompt: _,
            sampling: _,
            preview: _,
            device: _,
            memory: _,
            batch: _,
            raw_size: _,
            quality: _,
            implied: _,
            spelling: _,
        } = self;
        let ModelSelection {
            model,
            models_dir,
            parts,
            loras,
            lora_dir,
            embeddings: EmbeddingFiles { files: embeddings, folder },
            prediction: _,
            zero_snr: _,
        } = model;
        let PartFiles { unet, vae, text_encoders, parts_from } = parts;
        let SdxlOptions { refiner, original_size: _, crop: _, target_size: _, refiner_start: _ } = sdxl;
        let (mut files, mut images) = (Vec::new(), Vec::new());
        files.extend([model, unet, vae, parts_from, refiner, taesd].into_iter().flatten());
        files.extend(text_encoders);
        files.extend(loras.iter_mut().map(|lora| &mut lora.file));
        files.extend(embeddings);
        for ControlOptions { net, image, .. } in control {
            files.push(net);
            images.push(image);
        }
        for ImagePromptOptions { adapter, image, encoder, .. } in image_prompts {
            files.push(adapter);
            files.extend(encoder);
            images.push(image);
        }
        match task {
            JobTask::Txt2img(Txt2imgTask { hires: HiresOptions { upscaler, .. } }) => {
                files.extend(upscaler.as_mut().filter(|path| !is_built_in(path)));
            }
            JobTask::Inpaint(InpaintTask { image, mask, .. }) => {
                images.push(image);
                images.extend(mask);
            }
            task => images.extend(task.image_mut()),
        }
        JobFiles { files, folders: [models_dir, lora_dir, folder, wildcards], images }
    }
}

/// Whether a path is the name of an upscaler that is built in.
fn is_built_in(path: &Path) -> bool {
    path.to_str().is_some_and(|name| built_in_upscalers().any(|known| known == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::ControlOptions;

    #[test]
    fn every_file_and_image_of_a_job_is_found() {
        let mut job = Job::txt2img("");
        assert!(job.files_mut().files.is_empty() && job.files_mut().images.is_empty());
        job.set("model", &["a"]).unwrap();
        job.set("vae", &["b"]).unwrap();
        job.set("lora", &["c:0.5", "d"]).unwrap();
        job.set("refiner", &["e"]).unwrap();
        job.set("taesd", &["f"]).unwrap();
        job.set("lora-dir", &["g"]).unwrap();
        let net = ControlOptions { net: "h".into(), image: PathBuf::from("i").into(), ..Default::default() };
        job.control.push(net);
        let mut found = job.files_mut();
        let mut files: Vec<String> =
            found.files.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
        files.sort();
        assert_eq!(files, ["a", "b", "c", "d", "e", "f", "h"]);
        assert_eq!(found.folders.iter().flat_map(|folder| folder.as_deref()).count(), 1);
        assert_eq!(*found.images.remove(0), ImageSource::from(PathBuf::from("i")));
    }

    #[test]
    fn the_name_of_an_upscaler_that_is_built_in_is_not_a_file() {
        for (name, files) in [("lanczos", 0), ("esrgan", 1)] {
            let mut job = Job::txt2img("");
            let JobTask::Txt2img(task) = &mut job.task else { panic!() };
            task.hires.upscaler = Some(name.into());
            assert_eq!(job.files_mut().files.len(), files, "{name}");
        }
    }
}
