//! What a job does, in a form that is the same on every machine: files by their hashes, and never a path.

use super::inventory::{DEMO, Inventory, REPLAY, place};
use super::wire::NeededFile;
use crate::error::ApiError;
use crate::gallery::is_plain;
use crate::models::ModelCatalog;
use crate::request::check_axis;
use crate::work::Work;
use latent_app::grid::GridAxis;
use latent_app::job::{ImageSource, InlineImage, JobOption, built_in_upscalers, find_option};
use latent_app::{Job, models, upscale};
use latent_diffusion::lora::take_tags;
use std::path::{Path, PathBuf};

/// What stands in the place of a path: this and a number of the table of files.
const PLACEHOLDER: &str = "file-";

/// A job, and what it needs.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    /// The place in subjects of the model that it is drawn with.
    pub(super) place: String,
    pub(super) work: Work,
    pub(super) files: Vec<NeededFile>,
    pub(super) named_loras: Vec<NeededFile>,
    /// The contents of its folders of wildcards and of textual inversions, if it has them.
    pub(super) folders: [Option<String>; 2],
}

/// A worker's folders.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkerFolders {
    pub(super) embd_dir: Option<PathBuf>,
    pub(super) wildcards: Option<PathBuf>,
}

/// What a job lacks on this machine, for another to have a try.
#[derive(Debug)]
pub(super) enum Unpacked {
    Work(Box<Work>),
    Lacking(String),
    Refused(ApiError),
}

impl Parcel {
    /// Packs a job. This reads every file that was not hashed before.
    pub(super) fn pack(
        mut work: Work,
        models: &ModelCatalog,
        inventory: &Inventory,
    ) -> Result<Parcel, ApiError> {
        let mut table = FileTable { inventory, files: Vec::new() };
        let (mut named_loras, mut folders) = (Vec::new(), [const { None }; 2]);
        let main = main_file(&work).map(|path| inventory.hash(&path)).transpose()?;
        let place = match &work {
            Work::Replay { .. } => REPLAY.to_owned(),
            _ => main.as_deref().map_or_else(|| DEMO.to_owned(), place),
        };
        match &mut work {
            Work::Draw { job } => table.pack_job(job, models, &mut named_loras, &mut folders)?,
            Work::Grid { job, axes } => {
                table.pack_job(job, models, &mut named_loras, &mut folders)?;
                each_value(axes, |option, value| {
                    let Some((path, weight)) = option.file_of(value) else { return Ok(()) };
                    *value = format!("{}{weight}", table.put(&path)?.display());
                    Ok(())
                })?;
            }
            Work::Upscale { model, .. } | Work::UpscalePart { model, .. } => {
                if let Some(path) = model.as_mut().filter(|path| !is_built_in(path)) {
                    *path = table.put(path)?;
                }
            }
            Work::Replay { .. } => {}
        }
        Ok(Parcel { place, work, files: table.files, named_loras, folders })
    }

    /// A job with this machine's files. Nothing that another machine wrote is used as a path.
    pub(super) fn unpack(self, inventory: &Inventory, own: &WorkerFolders) -> Unpacked {
        let mut found = Vec::new();
        for file in &self.files {
            match inventory.find(&file.sha256, &file.name) {
                Some(path) => found.push(path),
                None => return Unpacked::Lacking(lacking(file)),
            }
        }
        let mut lora_dir: Option<PathBuf> = None;
        for lora in &self.named_loras {
            let path =
                inventory.find(&lora.sha256, &lora.name).filter(|path| models::stem(path) == lora.name);
            let Some(path) = path else { return Unpacked::Lacking(lacking(lora)) };
            let folder = path.parent().map(Path::to_owned).unwrap_or_default();
            if lora_dir.as_ref().is_some_and(|other| *other != folder) {
                return Unpacked::Lacking("has the LoRAs of the prompt in several folders".into());
            }
            lora_dir = Some(folder);
        }
        let mut folders = [const { None }; 2];
        let wanted =
            self.folders.iter().zip([(&own.wildcards, "wildcards"), (&own.embd_dir, "textual inversions")]);
        for (to, (needed, (folder, kind))) in folders.iter_mut().zip(wanted) {
            let Some(needed) = needed else { continue };
            let Some(folder) = folder else { return Unpacked::Lacking(format!("has no folder of {kind}")) };
            match inventory.contents.hash(folder) {
                Ok(hash) if hash == *needed => *to = Some(folder.clone()),
                Ok(_) => return Unpacked::Lacking(format!("has other {kind} in its folder")),
                Err(error) => return Unpacked::Lacking(format!("cannot read its folder of {kind}: {error}")),
            }
        }
        let mut work = self.work;
        let [wildcards, embd_dir] = folders;
        let own = WorkerFolders { embd_dir, wildcards };
        match with_files(&mut work, &found, lora_dir, &own) {
            Ok(()) => Unpacked::Work(Box::new(work)),
            Err(error) => Unpacked::Refused(error),
        }
    }
}

fn lacking(file: &NeededFile) -> String {
    let name: String = file.name.chars().filter(|c| !c.is_control()).take(200).collect();
    let digits: String = file.sha256.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    format!("has no file {name} with the SHA-256 {digits}...")
}

/// Files that are replaced by their numbers.
struct FileTable<'a> {
    inventory: &'a Inventory,
    files: Vec<NeededFile>,
}

impl FileTable<'_> {
    /// What stands in the place of a file.
    fn put(&mut self, path: &Path) -> Result<PathBuf, ApiError> {
        let file = NeededFile { name: models::stem(path), sha256: self.inventory.hash(path)? };
        let index = self.files.iter().position(|own| *own == file).unwrap_or_else(|| {
            self.files.push(file);
            self.files.len() - 1
        });
        Ok(format!("{PLACEHOLDER}{index}").into())
    }

    fn pack_job(
        &mut self,
        job: &mut Job,
        models: &ModelCatalog,
        named_loras: &mut Vec<NeededFile>,
        folders: &mut [Option<String>; 2],
    ) -> Result<(), ApiError> {
        *named_loras = loras_of_prompts(job, models, self.inventory)?;
        let parts = job.files_mut();
        for path in parts.files {
            *path = self.put(path)?;
        }
        let [models_dir, lora_dir, embeddings, wildcards] = parts.folders;
        (*models_dir, *lora_dir) = (None, None);
        let hash = |folder: &mut Option<PathBuf>| {
            let Some(folder) = folder.take() else { return Ok(None) };
            let hash = self.inventory.contents.hash(&folder);
            hash.map(Some).map_err(|error| ApiError::io(&models::stem(&folder), &error))
        };
        *folders = [hash(wildcards)?, hash(embeddings)?];
        Ok(())
    }
}

/// The files of the LoRAs that prompts name.
fn loras_of_prompts(
    job: &Job,
    models: &ModelCatalog,
    inventory: &Inventory,
) -> Result<Vec<NeededFile>, ApiError> {
    let mut files: Vec<NeededFile> = Vec::new();
    for prompt in [&job.prompt, &job.negative_prompt] {
        let (_, tags) = take_tags(prompt).map_err(latent_app::AppError::from)?;
        for tag in tags {
            let name = tag.name.strip_suffix(".safetensors").unwrap_or(&tag.name);
            let beside = job.model.lora_dir.as_ref().map(|folder| folder.join(format!("{name}.safetensors")));
            let path = match beside.filter(|path| path.is_file()) {
                Some(path) => Some(path),
                None => models.find(&tag.name).ok().flatten(),
            };
            // One that is not there is an error of the job itself, wherever it is drawn.
            let Some(path) = path else { continue };
            files.push(NeededFile { name: models::stem(&path), sha256: inventory.hash(&path)? });
        }
    }
    Ok(files)
}

/// The file that a job is drawn with; the built-in model when `None`.
fn main_file(work: &Work) -> Option<PathBuf> {
    match work {
        Work::Draw { job } | Work::Grid { job, .. } => {
            job.model.model.clone().or_else(|| job.model.parts.unet.clone())
        }
        Work::Upscale { model, .. } | Work::UpscalePart { model, .. } => {
            model.clone().filter(|path| !is_built_in(path))
        }
        Work::Replay { .. } => None,
    }
}

fn is_built_in(path: &Path) -> bool {
    path.to_str().is_some_and(|name| {
        upscale::built_in() == Some(name) || built_in_upscalers().any(|known| known == name)
    })
}

/// Changes the values of a grid's sides.
fn each_value(
    axes: &mut [Option<GridAxis>; 2],
    mut change: impl FnMut(&JobOption, &mut String) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    for axis in axes.iter_mut().flatten() {
        let option = find_option(&axis.option)?;
        axis.values.iter_mut().try_for_each(|value| change(option, value))?;
    }
    Ok(())
}

/// The file of a placeholder.
fn file_of(found: &[PathBuf], path: &Path) -> Result<PathBuf, ApiError> {
    let index = path.to_str().and_then(|text| text.strip_prefix(PLACEHOLDER)?.parse::<usize>().ok());
    let file = index.and_then(|index| found.get(index)).cloned();
    file.ok_or_else(|| ApiError::bad_input("the job names a path; files of other machines are never opened"))
}

/// Replaces placeholders by files, and refuses all else that could be opened.
fn with_files(
    work: &mut Work,
    found: &[PathBuf],
    lora_dir: Option<PathBuf>,
    own: &WorkerFolders,
) -> Result<(), ApiError> {
    let unpack_job = |job: &mut Job| -> Result<(), ApiError> {
        let parts = job.files_mut();
        for path in parts.files {
            *path = file_of(found, path)?;
        }
        for image in parts.images {
            match image {
                ImageSource::Inline(image) => check_image(image)?,
                ImageSource::Path(_) => {
                    return Err(ApiError::bad_input("the job names a path in place of an image"));
                }
            }
        }
        let [models_dir, of_loras, embeddings, wildcards] = parts.folders;
        (*models_dir, *of_loras) = (None, lora_dir.clone());
        embeddings.clone_from(&own.embd_dir);
        wildcards.clone_from(&own.wildcards);
        Ok(())
    };
    match work {
        Work::Draw { job } => unpack_job(job),
        Work::Grid { job, axes } => {
            unpack_job(job)?;
            each_value(axes, |option, value| {
                check_axis(option)?;
                let Some((path, weight)) = option.file_of(value) else { return Ok(()) };
                *value = format!("{}{weight}", file_of(found, &path)?.display());
                Ok(())
            })
        }
        Work::Upscale { image, model, .. } | Work::UpscalePart { image, model, .. } => {
            check_image(image)?;
            match model.as_mut().filter(|path| !is_built_in(path)) {
                Some(path) => file_of(found, path).map(|file| *path = file),
                None => Ok(()),
            }
        }
        Work::Replay { image, .. } => check_image(image),
    }
}

/// Refuses an image whose name is a path: it becomes that of a temporary file.
fn check_image(image: &InlineImage) -> Result<(), ApiError> {
    let refused = || ApiError::bad_input("the job has an image whose name is a path");
    if is_plain(&image.name) { Ok(()) } else { Err(refused()) }
}
