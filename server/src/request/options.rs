//! The options of a request, in JSON.

use super::files;
use super::images::Images;
use crate::error::ApiError;
use crate::models::ModelCatalog;
use latent_app::Job;
use latent_app::job::{ImageSource, JobOption, JobOptionKind, JobTask, OPTIONS, find_option};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Options that say where files are, or what the server decides.
const NOT_OF_CLIENTS: [&str; 6] =
    ["models-dir", "lora-dir", "embd-dir", "wildcards", "precision", "max-vram"];
/// Options whose values are images.
const IMAGES: [&str; 4] = ["image", "mask", "control-image", "ip-adapter-image"];
/// Maximum number of values of a list.
const MAX_VALUES: usize = 1024;

/// The options that are still to be used, by name with `-`.
pub(super) struct RequestOptions(BTreeMap<String, Value>);

impl RequestOptions {
    /// Those of a request. One that is null was not given.
    pub(super) fn new(options: Map<String, Value>) -> Result<RequestOptions, ApiError> {
        let mut all = BTreeMap::new();
        for (name, value) in options {
            let name = name.replace('_', "-");
            if !value.is_null() && all.insert(name.clone(), value).is_some() {
                return Err(ApiError::bad_input(format!("{name}: is given twice")).at(&name));
            }
        }
        Ok(RequestOptions(all))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(super) fn take_needed(&mut self, name: &str) -> Result<Value, ApiError> {
        self.take(name).ok_or_else(|| ApiError::bad_input(format!("{name}: is needed")).at(name))
    }

    pub(super) fn take_switch(&mut self, name: &str) -> Result<bool, ApiError> {
        match self.take(name) {
            None | Some(Value::Bool(false)) => Ok(false),
            Some(Value::Bool(true)) => Ok(true),
            Some(_) => Err(ApiError::bad_input(format!("{name}: give true or false")).at(name)),
        }
    }

    pub(super) fn take_number(&mut self, name: &str) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = text(name, &value)?.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| ApiError::bad_input(format!("{name}: is not a number")).at(name))
    }

    /// Refuses options that were not used.
    pub(super) fn finish(&self, verb: &str) -> Result<(), ApiError> {
        let Some(name) = self.0.keys().next() else { return Ok(()) };
        let line = match find_option(name) {
            Ok(_) => format!("{name}: {verb} has no such option"),
            Err(error) => error.to_string(),
        };
        Err(ApiError::bad_input(line).at(name))
    }

    /// Gives a job its options. Those that the job's task does not have are left for [`RequestOptions::finish`].
    pub(super) fn apply(
        &mut self,
        job: &mut Job,
        models: &ModelCatalog,
        images: Images<'_>,
    ) -> Result<(), ApiError> {
        // In the order of the table, in which no option comes before one that it needs.
        for option in OPTIONS {
            let name = option.name();
            if self.0.contains_key(name) && NOT_OF_CLIENTS.contains(&name) {
                return Err(ApiError::bad_input(format!("{name}: is the server's to choose")).at(name));
            }
            if !self.0.contains_key(name) || !option.applies_to(job) {
                continue;
            }
            let value = self.take(name).expect("it is there");
            let set = if IMAGES.contains(&name) {
                set_images(job, name, &value, images)
            } else {
                set(job, option, &value, models)
            };
            set.map_err(|error| error.at(name))?;
        }
        Ok(())
    }
}

/// Sets an option that is not an image.
fn set(job: &mut Job, option: &JobOption, value: &Value, models: &ModelCatalog) -> Result<(), ApiError> {
    let name = option.name();
    if option.kind() == JobOptionKind::Switch {
        match value {
            Value::Bool(true) => option.set(job, &[])?,
            Value::Bool(false) => {}
            _ => return Err(ApiError::bad_input(format!("{name}: give true or false"))),
        }
        return Ok(());
    }
    if name == "seed" && matches!(value.as_i64(), Some(-1)) {
        return Ok(());
    }
    let mut values = texts(option, value)?;
    for value in &mut values {
        files::resolve(option, value, models)?;
    }
    check_finite(name, &values)?;
    // The built-in model is what no name is.
    values.retain(|value| !value.is_empty() || matches!(name, "prompt" | "negative-prompt"));
    if values.is_empty() {
        return Ok(());
    }
    option.set(job, &values.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(())
}

/// Refuses numbers that are not finite: jobs are kept as JSON, which has none, so that such a number would be lost.
fn check_finite(name: &str, values: &[String]) -> Result<(), ApiError> {
    if matches!(name, "prompt" | "negative-prompt") {
        return Ok(());
    }
    // A file's weight is behind its name.
    let number = |value: &str| value.rsplit(':').next().and_then(|last| last.trim().parse::<f64>().ok());
    match values.iter().find(|value| number(value).is_some_and(|number| !number.is_finite())) {
        Some(value) => Err(ApiError::bad_input(format!("{name}: {value:?} is not a finite number"))),
        None => Ok(()),
    }
}

/// The values of an option.
fn texts(option: &JobOption, value: &Value) -> Result<Vec<String>, ApiError> {
    let name = option.name();
    let values: Vec<&Value> = match value {
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    };
    if values.len() > MAX_VALUES {
        return Err(ApiError::bad_input(format!(
            "{name}: {} values; the maximum is {MAX_VALUES}",
            values.len()
        )));
    }
    let of = |value: &Value| match (option.kind(), value) {
        (JobOptionKind::WeightedFiles, Value::Object(object)) => weighted(name, object),
        (JobOptionKind::Values, Value::String(list)) => Ok(list.clone()),
        (_, value) => text(name, value),
    };
    let texts: Vec<String> = values.into_iter().map(of).collect::<Result<_, _>>()?;
    match option.kind() {
        JobOptionKind::Values => {
            Ok(texts.iter().flat_map(|text| text.split(',')).map(|text| text.trim().to_owned()).collect())
        }
        _ => Ok(texts),
    }
}

/// `{"name": ..., "weight": ...}` as the command line writes it.
fn weighted(name: &str, object: &Map<String, Value>) -> Result<String, ApiError> {
    let file = object.get("name").ok_or_else(|| ApiError::bad_input(format!("{name}: give its name")))?;
    let file = text(name, file)?;
    match object.get("weight") {
        None | Some(Value::Null) => Ok(file),
        Some(weight) => {
            let weight = text(name, weight)?;
            let is_number = weight.parse::<f32>().is_ok_and(f32::is_finite);
            if is_number {
                Ok(format!("{file}:{weight}"))
            } else {
                Err(ApiError::bad_input(format!("{name}: the weight is not a number")))
            }
        }
    }
}

/// A value as text. A truth value is `on` or `off`.
pub(super) fn text(name: &str, value: &Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(if *value { "on" } else { "off" }.to_owned()),
        _ => Err(ApiError::bad_input(format!("{name}: give a text or a number"))),
    }
}

/// Sets the image of each of several parts: one for all, or one for each.
fn set_each(
    name: &str,
    parts: &str,
    sources: Vec<&mut ImageSource>,
    value: &Value,
    images: Images<'_>,
) -> Result<(), ApiError> {
    let values: Vec<&Value> = match value {
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    };
    let count = sources.len();
    if values.is_empty() || (values.len() != 1 && values.len() != count) || count == 0 {
        let line = format!("{name}: {} are given for {count} {parts}", values.len());
        return Err(ApiError::bad_input(line));
    }
    let read = values.into_iter().map(|value| images.of(value)).collect::<Result<Vec<_>, _>>()?;
    for (i, source) in sources.into_iter().enumerate() {
        *source = ImageSource::Inline(read.get(i).unwrap_or(&read[0]).clone());
    }
    Ok(())
}

/// Sets images, which are in the request or in the gallery.
fn set_images(job: &mut Job, name: &str, value: &Value, images: Images<'_>) -> Result<(), ApiError> {
    let each: Option<(&str, Vec<&mut ImageSource>)> = match name {
        "control-image" => Some(("ControlNets", job.control.iter_mut().map(|one| &mut one.image).collect())),
        "ip-adapter-image" => {
            Some(("IP-Adapters", job.image_prompts.iter_mut().map(|one| &mut one.image).collect()))
        }
        _ => None,
    };
    if let Some((parts, sources)) = each {
        return set_each(name, parts, sources, value, images);
    }
    let source = ImageSource::Inline(images.of(value)?);
    match (&mut job.task, name) {
        (JobTask::Inpaint(task), "mask") => task.mask = Some(source),
        (JobTask::Inpaint(task), _) => task.image = source,
        (JobTask::Img2img(task), _) => task.image = source,
        (JobTask::Outpaint(task), _) => task.image = source,
        (JobTask::Edit(task), _) => task.image = source,
        _ => return Err(ApiError::bad_input(format!("{name}: {} has no such option", job.task.name()))),
    }
    Ok(())
}
