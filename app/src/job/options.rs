//! The settings of a job by the names that command lines, axes of grids and the metadata of images use.

use super::control::ControlOptions;
use super::data::Job;
use super::each::{EachOf, FileOfEach};
use super::field::{JobOptionKind, OptionField, OptionFieldBox, SeedField};
use super::image_prompt::ImagePromptOptions;
use super::task::{HiresOptions, JobTask, Txt2imgTask};
use super::text::OptionText;
use crate::AppError;
use crate::addons::WeightedLora;
use crate::upscale::{self, LANCZOS};
use latent_diffusion::names::{self, Named};
use std::ffi::OsStr;
use std::path::PathBuf;

/// Ways to enlarge the latents of a first pass, as `hires-upscaler` names them: bilinear, and by repeating each.
pub(crate) const LATENT_UPSCALERS: [&str; 2] = ["latent", "latent-nearest"];

/// Ways to enlarge a first pass that need no file, as `hires-upscaler` names them.
pub fn built_in_upscalers() -> impl Iterator<Item = &'static str> {
    LATENT_UPSCALERS.into_iter().chain([LANCZOS]).chain(upscale::built_in())
}

/// Gives the field of a job, if the job's task has it.
type FieldOf = for<'a> fn(&'a mut Job) -> Option<OptionFieldBox<'a>>;

/// A setting of a job by name.
#[derive(Clone, Copy)]
pub struct JobOption {
    name: &'static str,
    kind: JobOptionKind,
    is_recorded: bool,
    field: FieldOf,
}

impl std::fmt::Debug for JobOption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JobOption({}, {:?})", self.name, self.kind)
    }
}

impl Named for JobOption {
    fn name(&self) -> &'static str {
        self.name
    }
}

impl JobOption {
    /// The name, with hyphens.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How its values are given.
    #[must_use]
    pub fn kind(&self) -> JobOptionKind {
        self.kind
    }

    /// Whether the metadata of images list it. What changes nothing in an image, names a place, or is recorded by itself
    /// (seed, prompts) is not listed.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// Whether further values can be added to those that are there.
    #[must_use]
    pub fn is_list(&self) -> bool {
        use JobOptionKind::{Files, List, WeightedFiles};
        matches!(self.kind, Files | List | WeightedFiles)
    }

    /// Whether the task of a job has it.
    #[must_use]
    pub fn applies_to(&self, job: &Job) -> bool {
        (self.field)(&mut job.clone()).is_some()
    }

    /// Its values in a job as they were given; none if it was not given. A switch that is on has one, `true`.
    #[must_use]
    pub fn texts(&self, job: &Job) -> Vec<String> {
        let mut copy = job.clone();
        let Some(mut field) = (self.field)(&mut copy) else { return Vec::new() };
        let texts = field.texts();
        let Some(spelled) = job.spelling.get(self.name) else { return texts };
        // A value may have changed since it was spelled so.
        let read = field.set(&spelled.iter().map(OsStr::new).collect::<Vec<_>>());
        if read.is_ok() && field.texts() == texts { spelled.clone() } else { texts }
    }

    /// Gives a job these values in place of those that it has.
    ///
    /// # Errors
    /// Bad input: a task that has no such option, a value that cannot be read.
    pub fn set(&self, job: &mut Job, values: &[&str]) -> Result<(), AppError> {
        self.set_os(job, &values.iter().map(OsStr::new).collect::<Vec<_>>())
    }

    /// The same with values that may not be UTF-8, as the names of files may not be.
    ///
    /// # Errors
    /// As [`JobOption::set`].
    pub fn set_os(&self, job: &mut Job, values: &[&OsStr]) -> Result<(), AppError> {
        let task = job.task.name();
        let refuse =
            |reason: String| AppError::BadInput(format!("{}: {reason}", self.name.replace('-', " ")));
        let Some(mut field) = (self.field)(job) else {
            return Err(refuse(format!("{task} has no such option")));
        };
        field.set(values).map_err(refuse)?;
        let given: Vec<String> = values.iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let is_usual = self.kind == JobOptionKind::Switch || field.texts() == given;
        drop(field);
        if is_usual {
            job.spelling.remove(self.name);
        } else {
            job.spelling.insert(self.name.to_owned(), given);
        }
        Ok(())
    }

    /// Gives a job a further value of a list, or a value in place of the one that it has.
    ///
    /// # Errors
    /// As [`JobOption::set`].
    pub fn add(&self, job: &mut Job, value: &str) -> Result<(), AppError> {
        let mut values = if self.is_list() { self.texts(job) } else { Vec::new() };
        values.push(value.to_owned());
        self.set(job, &values.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The file that a value names, and what follows it in the value; `None` for a value that is not a file.
    #[must_use]
    pub fn file_of(&self, value: &str) -> Option<(PathBuf, String)> {
        match self.kind {
            JobOptionKind::File | JobOptionKind::Files => Some((value.into(), String::new())),
            JobOptionKind::Upscaler => {
                (!built_in_upscalers().any(|name| name == value)).then(|| (value.into(), String::new()))
            }
            JobOptionKind::WeightedFiles => {
                let path = WeightedLora::from_text(value).ok()?.file;
                let weight = value[path.as_os_str().len().min(value.len())..].to_owned();
                Some((path, weight))
            }
            _ => None,
        }
    }
}

impl Job {
    /// Sets an option of [`OPTIONS`] by its name. Options that take a list get all of it; a switch gets no value.
    ///
    /// # Errors
    /// Bad input: an unknown name, an option that the task does not have, a value that cannot be read.
    pub fn set(&mut self, name: &str, values: &[&str]) -> Result<(), AppError> {
        find_option(name)?.set(self, values)
    }
}

/// The option of a name.
///
/// # Errors
/// Bad input, with the nearest known name.
pub fn find_option(name: &str) -> Result<&'static JobOption, AppError> {
    names::find("option", name, OPTIONS).map_err(|unknown| {
        let nearest = unknown.nearest.map_or(String::new(), |nearest| format!(", did you mean {nearest:?}?"));
        AppError::BadInput(format!("unknown option {:?}{nearest}", unknown.given))
    })
}

fn field<'a>(field: &'a mut (impl OptionField + 'a)) -> Option<OptionFieldBox<'a>> {
    Some(Box::new(field))
}

fn hires(job: &mut Job) -> Option<&mut HiresOptions> {
    match &mut job.task {
        JobTask::Txt2img(Txt2imgTask { hires }) => Some(hires),
        _ => None,
    }
}

fn strength(job: &mut Job) -> Option<&mut Option<f64>> {
    match &mut job.task {
        JobTask::Img2img(task) => Some(&mut task.strength),
        JobTask::Inpaint(task) => Some(&mut task.strength),
        JobTask::Outpaint(task) => Some(&mut task.strength),
        JobTask::Txt2img(_) | JobTask::Edit(_) => None,
    }
}

/// A field of one task.
macro_rules! of_task {
    ($task:ident . $name:ident) => {
        |job: &mut Job| match &mut job.task {
            JobTask::$task(task) => field(&mut task.$name),
            _ => None,
        }
    };
}

/// A setting of each ControlNet.
macro_rules! of_control {
    ($name:ident, $default:literal) => {
        |job: &mut Job| {
            let part: fn(&mut ControlOptions) -> &mut dyn OptionField = |one| &mut one.$name;
            Some(Box::new(EachOf {
                all: &mut job.control,
                part: "ControlNet",
                default: $default,
                field: part,
            }))
        }
    };
}

/// A setting of each image prompt.
macro_rules! of_image_prompt {
    ($name:ident, $default:literal) => {
        |job: &mut Job| {
            let part: fn(&mut ImagePromptOptions) -> &mut dyn OptionField = |one| &mut one.$name;
            Some(Box::new(EachOf {
                all: &mut job.image_prompts,
                part: "IP-Adapter",
                default: $default,
                field: part,
            }))
        }
    };
}

const fn recorded(name: &'static str, kind: JobOptionKind, field: FieldOf) -> JobOption {
    JobOption { name, kind, is_recorded: true, field }
}

const fn unrecorded(name: &'static str, kind: JobOptionKind, field: FieldOf) -> JobOption {
    JobOption { name, kind, is_recorded: false, field }
}

use JobOptionKind::{File, Files, List, Switch, Upscaler, Value, Values, WeightedFiles};

/// Every option. The order is that in which metadata list files; `control-net` and
/// `ip-adapter` stand before what depends on them.
pub static OPTIONS: &[JobOption] = &[
    recorded("image", File, |job| job.task.image_mut().and_then(field)),
    recorded("strength", Value, |job| strength(job).and_then(field)),
    recorded("resize", Value, |job| match &mut job.task {
        JobTask::Img2img(task) => field(&mut task.resize),
        JobTask::Edit(task) => field(&mut task.resize),
        _ => None,
    }),
    recorded("img-cfg-scale", Value, of_task!(Edit.img_cfg_scale)),
    recorded("invert", Switch, of_task!(Inpaint.invert)),
    recorded("mask-blur", Value, |job| match &mut job.task {
        JobTask::Inpaint(task) => field(&mut task.mask_blur),
        JobTask::Outpaint(task) => field(&mut task.mask_blur),
        _ => None,
    }),
    recorded("fill", Value, of_task!(Inpaint.fill)),
    recorded("only-masked", Switch, of_task!(Inpaint.only_masked)),
    recorded("padding", Value, of_task!(Inpaint.padding)),
    recorded("left", Value, of_task!(Outpaint.left)),
    recorded("right", Value, of_task!(Outpaint.right)),
    recorded("top", Value, of_task!(Outpaint.top)),
    recorded("bottom", Value, of_task!(Outpaint.bottom)),
    recorded("hires", Switch, |job| hires(job).and_then(|hires| field(&mut hires.enabled))),
    recorded("hires-scale", Value, |job| hires(job).and_then(|hires| field(&mut hires.scale))),
    recorded("hires-steps", Value, |job| hires(job).and_then(|hires| field(&mut hires.steps))),
    recorded("hires-strength", Value, |job| hires(job).and_then(|hires| field(&mut hires.strength))),
    recorded("hires-upscaler", Upscaler, |job| hires(job).and_then(|hires| field(&mut hires.upscaler))),
    recorded("model", File, |job| field(&mut job.model.model)),
    unrecorded("models-dir", Value, |job| field(&mut job.model.models_dir)),
    recorded("unet", File, |job| field(&mut job.model.parts.unet)),
    recorded("vae", File, |job| field(&mut job.model.parts.vae)),
    recorded("text-encoder", Files, |job| field(&mut job.model.parts.text_encoders)),
    recorded("parts-from", File, |job| field(&mut job.model.parts.parts_from)),
    recorded("lora", WeightedFiles, |job| field(&mut job.model.loras)),
    unrecorded("lora-dir", Value, |job| field(&mut job.model.lora_dir)),
    recorded("embedding", Files, |job| field(&mut job.model.embeddings.files)),
    unrecorded("embd-dir", Value, |job| field(&mut job.model.embeddings.folder)),
    unrecorded("wildcards", Value, |job| field(&mut job.wildcards)),
    recorded("prediction", Value, |job| field(&mut job.model.prediction)),
    recorded("zero-snr", Value, |job| field(&mut job.model.zero_snr)),
    recorded("width", Value, |job| field(&mut job.sampling.width)),
    recorded("height", Value, |job| field(&mut job.sampling.height)),
    recorded("steps", Value, |job| field(&mut job.sampling.steps)),
    recorded("cfg-scale", Value, |job| field(&mut job.sampling.cfg_scale)),
    recorded("cfg-rescale", Value, |job| field(&mut job.sampling.cfg_rescale)),
    recorded("cfg-end", Value, |job| field(&mut job.sampling.cfg_end)),
    recorded("guidance", Value, |job| field(&mut job.sampling.guidance)),
    recorded("pag-scale", Value, |job| field(&mut job.sampling.pag_scale)),
    recorded("slg-scale", Value, |job| field(&mut job.sampling.slg_scale)),
    recorded("slg-layers", Values, |job| field(&mut job.sampling.slg_layers)),
    recorded("slg-start", Value, |job| field(&mut job.sampling.slg_start)),
    recorded("slg-end", Value, |job| field(&mut job.sampling.slg_end)),
    recorded("cache", Value, |job| field(&mut job.sampling.cache)),
    recorded("tome", Value, |job| field(&mut job.sampling.tome)),
    recorded("variation-strength", Value, |job| field(&mut job.sampling.variation_strength)),
    recorded("seamless", Value, |job| field(&mut job.sampling.seamless)),
    recorded("sampler", Value, |job| field(&mut job.sampling.sampler)),
    recorded("scheduler", Value, |job| field(&mut job.sampling.scheduler)),
    recorded("compat", Value, |job| field(&mut job.sampling.compat)),
    recorded("eta", Value, |job| field(&mut job.sampling.eta)),
    recorded("s-churn", Value, |job| field(&mut job.sampling.s_churn)),
    recorded("s-noise", Value, |job| field(&mut job.sampling.s_noise)),
    recorded("rho", Value, |job| field(&mut job.sampling.rho)),
    recorded("shift", Value, |job| field(&mut job.sampling.shift)),
    recorded("sigmas", Values, |job| field(&mut job.sampling.sigmas)),
    recorded("clip-skip", Value, |job| field(&mut job.sampling.clip_skip)),
    recorded("rng", Value, |job| field(&mut job.sampling.rng)),
    recorded("original-size", Value, |job| field(&mut job.sdxl.original_size)),
    recorded("crop", Value, |job| field(&mut job.sdxl.crop)),
    recorded("target-size", Value, |job| field(&mut job.sdxl.target_size)),
    recorded("refiner", File, |job| field(&mut job.sdxl.refiner)),
    recorded("refiner-start", Value, |job| field(&mut job.sdxl.refiner_start)),
    recorded("control-net", Files, |job| {
        let file: fn(&mut ControlOptions) -> &mut PathBuf = |one| &mut one.net;
        Some(Box::new(FileOfEach { all: &mut job.control, file }))
    }),
    recorded("control-image", Files, of_control!(image, "")),
    recorded("control-type", List, of_control!(control_type, "")),
    recorded("control-strength", List, of_control!(strength, "1")),
    recorded("control-start", List, of_control!(start, "0")),
    recorded("control-end", List, of_control!(end, "1")),
    recorded("control-preprocess", List, of_control!(preprocess, "none")),
    recorded("canny-low", Value, of_control!(canny_low, "100")),
    recorded("canny-high", Value, of_control!(canny_high, "200")),
    recorded("ip-adapter", Files, |job| {
        let file: fn(&mut ImagePromptOptions) -> &mut PathBuf = |one| &mut one.adapter;
        Some(Box::new(FileOfEach { all: &mut job.image_prompts, file }))
    }),
    recorded("ip-adapter-image", Files, of_image_prompt!(image, "")),
    recorded("image-encoder", Files, of_image_prompt!(encoder, "")),
    recorded("ip-adapter-strength", List, of_image_prompt!(strength, "1")),
    recorded("ip-adapter-start", List, of_image_prompt!(start, "0")),
    recorded("ip-adapter-end", List, of_image_prompt!(end, "1")),
    recorded("taesd", File, |job| field(&mut job.taesd)),
    unrecorded("device", Value, |job| field(&mut job.device.device)),
    unrecorded("precision", Value, |job| field(&mut job.device.precision)),
    unrecorded("max-vram", Value, |job| field(&mut job.device.max_vram)),
    recorded("quality", Value, |job| field(&mut job.quality)),
    unrecorded("raw-size", Switch, |job| field(&mut job.raw_size)),
    unrecorded("batch-count", Value, |job| field(&mut job.batch.count)),
    unrecorded("batch-size", Value, |job| field(&mut job.batch.size)),
    unrecorded("low-memory", Switch, |job| field(&mut job.memory.low_memory)),
    unrecorded("vae-tiling", Switch, |job| field(&mut job.memory.vae_tiling)),
    recorded("mask", File, of_task!(Inpaint.mask)),
    unrecorded("prompt", Value, |job| field(&mut job.prompt)),
    unrecorded("negative-prompt", Value, |job| field(&mut job.negative_prompt)),
    unrecorded("seed", Value, |job| Some(Box::new(SeedField(&mut job.sampling.seed)))),
    unrecorded("variation-seed", Value, |job| Some(Box::new(SeedField(&mut job.sampling.variation_seed)))),
];
