//! The job of an image that this program drew.

use super::options::ReplayOptions;
use super::search::{FileSearch, WantedHash};
use crate::error::Remedy;
use crate::job::{Job, JobOption, JobOptionKind, JobTask, OPTIONS, find_option};
use crate::session::{TAG_ORDER, TAGGED_LORA, is_raw};
use crate::{AppError, hash, model_file};
use latent_diffusion::lora::update_tags;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Settings as they were used, which hold where no option was given: a model has its own.
const USED: [(&str, &str); 8] = [
    ("steps", "steps"),
    ("cfg_scale", "cfg-scale"),
    ("cfg_rescale", "cfg-rescale"),
    ("sampler", "sampler"),
    ("scheduler", "scheduler"),
    ("compat", "compat"),
    ("rng", "rng"),
    ("clip_skip", "clip-skip"),
];
/// Those that noise levels given one by one leave no room for.
const NOT_WITH_SIGMAS: [&str; 3] = ["steps", "scheduler", "compat"];

/// A file that the image was made with.
struct UsedFile<'a> {
    option: &'a str,
    name: &'a str,
    hash: Option<WantedHash>,
}

/// An image's own metadata, with tags in its prompts as they are read today.
pub(super) fn updated(mut own: Value) -> Value {
    if own.get(TAG_ORDER).is_some() {
        return own;
    }
    let update = |text: &mut Value| {
        if let Some(updated) = text.as_str().map(update_tags) {
            *text = updated.into();
        }
    };
    for key in ["prompt", "negative_prompt", "prompt_template", "negative_prompt_template"] {
        own.get_mut(key).into_iter().for_each(update);
    }
    for axis in ["/grid/x", "/grid/y"] {
        let Some(axis) = own.pointer_mut(axis) else { continue };
        let is_prompt = axis.get("flag").and_then(Value::as_str).is_some_and(|name| name.ends_with("prompt"));
        if is_prompt && let Some(values) = axis.get_mut("values").and_then(Value::as_array_mut) {
            values.iter_mut().for_each(update);
        }
    }
    own
}

/// The job of an image's own metadata. `follow_used`: whether settings that nobody gave are those that were used, and not
/// those that the model has now.
pub(super) fn job(
    own: &Value,
    options: &ReplayOptions,
    search: &mut FileSearch<'_>,
    follow_used: bool,
) -> Result<Job, AppError> {
    let bad = |reason: String| AppError::BadInput(format!("{}: {reason}", options.file.display()));
    let text = |key: &str| own.get(key).and_then(Value::as_str);
    let name = text("command").unwrap_or("");
    let task = JobTask::named(name);
    let task = task
        .ok_or_else(|| bad(format!("was made by the command {name:?}, which this version does not have")))?;
    let mut job = Job::new(task, text("prompt").unwrap_or(""));
    job.negative_prompt = text("negative_prompt").unwrap_or("").to_owned();
    model(own, options, search, &mut job)?;
    let mut files = files(own);
    let none = Map::new();
    let given = own.get("flags").and_then(Value::as_object).unwrap_or(&none);
    check_names(given, &job, options)?;
    // In the order of the table, in which no option comes before one that it needs.
    for option in OPTIONS.iter().filter(|option| option.name() != "model") {
        if let Some(value) =
            given.get(option.name()).filter(|_| option.is_recorded() && option.applies_to(&job))
        {
            set(option, value, &mut files, search, &mut job).map_err(|error| within(options, error))?;
        }
    }
    if follow_used {
        used(own, &mut job).map_err(|error| within(options, error))?;
    }
    job.raw_size = is_raw(own, &job);
    for file in files.remove("embedding").into_iter().flatten() {
        job.model.embeddings.files.push(search.find("embedding", file.name, file.hash.as_ref())?);
    }
    job.model.lora_dir = lora_folder(files.remove(TAGGED_LORA).unwrap_or_default(), search)?;
    let seed = own.get("seed").and_then(Value::as_u64);
    job.sampling.seed = Some(seed.ok_or_else(|| bad("does not record its seed".into()))?);
    job.sampling.variation_seed = own.get("variation_seed").and_then(Value::as_u64);
    let mut device = text("device").unwrap_or_default().split(' ');
    if device.next() == Some("cpu") {
        job.set("device", &["cpu"])?;
        let precision = device.next().unwrap_or("f32");
        job.set("precision", &[precision]).map_err(|error| within(options, error))?;
    }
    Ok(job)
}

/// Refuses options that this version does not have, or leaves them out.
fn check_names(given: &Map<String, Value>, job: &Job, options: &ReplayOptions) -> Result<(), AppError> {
    let is_known = |name: &str| {
        let option = find_option(name).ok().filter(|option| option.name() == name);
        option.is_some_and(|option| option.is_recorded() && option.applies_to(job))
    };
    match given.keys().find(|name| !is_known(name)) {
        Some(name) if !options.force => {
            let file = options.file.display();
            let message =
                format!("{file}: was made with the option {name}, which this version does not have");
            Err(AppError::Refused { message, remedy: Remedy::LeaveOut })
        }
        _ => Ok(()),
    }
}

/// An error of an option as one of the image.
fn within(options: &ReplayOptions, error: AppError) -> AppError {
    match error {
        AppError::BadInput(line) => {
            let file = options.file.display();
            AppError::BadInput(format!("{file}: what it records cannot be drawn: {line}"))
        }
        error => error,
    }
}

/// Gives a job the recorded values of an option, with the files that they name.
fn set(
    option: &JobOption,
    value: &Value,
    files: &mut HashMap<&str, Vec<UsedFile<'_>>>,
    search: &mut FileSearch<'_>,
    job: &mut Job,
) -> Result<(), AppError> {
    if option.kind() == JobOptionKind::Switch {
        return option.set(job, &[]);
    }
    let mut values: Vec<String> = Vec::new();
    for value in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let Some((path, weight)) = option.file_of(value) else {
            values.push(value.to_owned());
            continue;
        };
        let recorded = files.get_mut(option.name()).filter(|list| !list.is_empty());
        let recorded = recorded.map(|list| list.remove(0));
        let name = path.to_string_lossy();
        let (name, hash) = recorded.as_ref().map_or((&*name, None), |file| (file.name, file.hash.as_ref()));
        let path = search.find(option.name(), name, hash)?;
        values.push(format!("{}{weight}", path.display()));
    }
    option.set(job, &values.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Gives a job the settings that were used and that nobody gave.
fn used(own: &Value, job: &mut Job) -> Result<(), AppError> {
    for (key, name) in USED {
        let has_no_room = !job.sampling.sigmas.is_empty() && NOT_WITH_SIGMAS.contains(&name);
        let option = find_option(name)?;
        if let Some(value) = own.get(key).filter(|_| option.texts(job).is_empty() && !has_no_room) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            option.set(job, &[&text])?;
            job.implied.insert(name.to_owned());
        }
    }
    Ok(())
}

/// The files by their options, in their order.
fn files(own: &Value) -> HashMap<&str, Vec<UsedFile<'_>>> {
    let mut files: HashMap<&str, Vec<UsedFile<'_>>> = HashMap::new();
    for file in own.get("files").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| file.get(key).and_then(Value::as_str);
        if let (Some(option), Some(name)) = (text("flag"), text("name")) {
            files.entry(option).or_default().push(UsedFile {
                option,
                name,
                hash: WantedHash::read(file, "sha256", "folder_sha256"),
            });
        }
    }
    files
}

/// The folder of the LoRAs that the prompt names.
fn lora_folder(files: Vec<UsedFile<'_>>, search: &mut FileSearch<'_>) -> Result<Option<PathBuf>, AppError> {
    let mut folder: Option<PathBuf> = None;
    for UsedFile { option, name, hash } in files {
        let path = search.find(option.trim_matches(['<', '>']), name, hash.as_ref())?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        if folder.as_ref().is_some_and(|other| *other != parent) {
            let line = format!(
                "{}: is in another folder than the other LoRAs of the prompt; put them into one",
                path.display()
            );
            return Err(AppError::BadInput(line));
        }
        folder = Some(parent);
    }
    Ok(folder)
}

/// The model: the one that a person names, or that of the same name and hash, or the built-in one.
fn model(
    own: &Value,
    options: &ReplayOptions,
    search: &mut FileSearch<'_>,
    job: &mut Job,
) -> Result<(), AppError> {
    let hash = WantedHash::read(own, "model_sha256", "model_folder_sha256");
    let given = own.pointer("/flags/model/0").and_then(Value::as_str);
    if let Some(path) = &options.model {
        let path = model_file::locate_kind(path, options.models_dir.as_deref(), &model_file::MODELS)?;
        match &hash {
            Some(hash) => search.check("model", &path, hash)?,
            None => search.doubts.push(unknown(options, &path)),
        }
        job.model.model = Some(path);
    } else if let Some(name) = given {
        let path = search.find("model", name, hash.as_ref())?;
        if hash.is_none() {
            search.doubts.push(unknown(options, &path));
        }
        job.model.model = Some(path);
    } else if let Some(hash) = hash.filter(|_| own.pointer("/flags/unet").is_none() && !options.force) {
        let demo = model_file::demo_sha256()?;
        if hash.is_folder() || hash.digits() != demo {
            let message = format!(
                "{}: was made with another built-in model ({}) than this program's ({})",
                options.file.display(),
                hash::short(hash.digits()),
                hash::short(&demo)
            );
            return Err(AppError::Refused { message, remedy: Remedy::AcceptOtherFiles });
        }
    }
    Ok(())
}

/// What is said of a model that may be another one, as older versions recorded no hash of folders.
fn unknown(options: &ReplayOptions, path: &Path) -> String {
    let (file, path) = (options.file.display(), path.display());
    format!("{file}: records no hash of its model, so {path} may be another one")
}
