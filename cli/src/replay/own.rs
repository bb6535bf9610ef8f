//! The command line of an image that this program drew.

use super::line::{Line, argument, command};
use super::search::Search;
use crate::args::ReplayArgs;
use crate::drawing::{NOT_TOLD, TAGGED, file_of};
use crate::{hash, model};
use latent_app::AppError;
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Settings as they were used, which hold where no flag was given: a model has its own.
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
struct File<'a> {
    flag: &'a str,
    name: &'a str,
    sha256: Option<&'a str>,
}

pub(super) fn line(own: &Value, args: &ReplayArgs) -> Result<Line, AppError> {
    let bad = |reason: String| AppError::BadInput(format!("{}: {reason}", args.file.display()));
    let text = |key: &str| own.get(key).and_then(Value::as_str);
    let name = text("command").unwrap_or("");
    let command = command(name).filter(|command| argument(command, "negative-prompt").is_some());
    let command = command
        .ok_or_else(|| bad(format!("was made by the command {name:?}, which this version has not")))?;
    let search = Search::of(args);
    let mut line = Line::new(name);
    model(own, args, &search, &mut line)?;
    let mut files = files(own);
    let no_flags = serde_json::Map::new();
    for (flag, value) in own.get("flags").and_then(Value::as_object).unwrap_or(&no_flags) {
        let Some(arg) = argument(&command, flag).filter(|arg| !NOT_TOLD.contains(&arg.get_id().as_str()))
        else {
            let reason = format!("was made with --{flag}, which this version has not; --force leaves it out");
            if args.force {
                continue;
            }
            return Err(bad(reason));
        };
        if flag == "model" {
            continue;
        }
        if !arg.get_action().takes_values() {
            line.switch(flag);
            continue;
        }
        for value in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let Some((path, weight)) = file_of(arg, value) else {
                line.flag(flag, value);
                continue;
            };
            let told =
                files.get_mut(flag.as_str()).filter(|list| !list.is_empty()).map(|list| list.remove(0));
            let name = path.to_string_lossy();
            let path = search.find(
                flag,
                told.as_ref().map_or(&name, |f| f.name),
                told.as_ref().and_then(|f| f.sha256),
            )?;
            if arg.get_long().is_none() {
                line.image = Some(path);
                continue;
            }
            let mut value = OsString::from(path);
            value.push(weight);
            line.flag(flag, value);
        }
    }
    for (key, flag) in USED {
        let has_no_room = line.has("sigmas") && NOT_WITH_SIGMAS.contains(&flag);
        if let Some(value) = own.get(key).filter(|_| !line.has(flag) && !has_no_room) {
            line.used(flag, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
    }
    for file in files.remove("embedding").into_iter().flatten() {
        line.flag("embedding", search.find("embedding", file.name, file.sha256)?);
    }
    if let Some(folder) = lora_folder(files.remove(TAGGED).unwrap_or_default(), &search)? {
        line.flag("lora-dir", folder);
    }
    line.flag("prompt", text("prompt").unwrap_or(""));
    line.flag("negative-prompt", text("negative_prompt").unwrap_or(""));
    let seed = own.get("seed").and_then(Value::as_u64).ok_or_else(|| bad("does not tell its seed".into()))?;
    line.flag("seed", seed.to_string());
    if text("device") == Some("cpu") {
        line.flag("device", "cpu");
    }
    Ok(line)
}

/// The files by their flags, in their order.
fn files(own: &Value) -> HashMap<&str, Vec<File<'_>>> {
    let mut files: HashMap<&str, Vec<File<'_>>> = HashMap::new();
    for file in own.get("files").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| file.get(key).and_then(Value::as_str);
        if let (Some(flag), Some(name)) = (text("flag"), text("name")) {
            files.entry(flag).or_default().push(File { flag, name, sha256: text("sha256") });
        }
    }
    files
}

/// The folder of the LoRAs that the prompt names.
fn lora_folder(files: Vec<File<'_>>, search: &Search<'_>) -> Result<Option<PathBuf>, AppError> {
    let mut folder: Option<PathBuf> = None;
    for File { flag, name, sha256 } in files {
        let path = search.find(flag.trim_matches(['<', '>']), name, sha256)?;
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

/// The model: that which a person names, or that of the same name and hash, or the built-in one.
fn model(own: &Value, args: &ReplayArgs, search: &Search<'_>, line: &mut Line) -> Result<(), AppError> {
    let sha256 = own.get("model_sha256").and_then(Value::as_str);
    let given = own.pointer("/flags/model/0").and_then(Value::as_str);
    if let Some(path) = &args.model {
        let path = model::locate(path, args.models_dir.as_deref())?;
        if let Some(sha256) = sha256 {
            search.check("model", &path, sha256)?;
        }
        line.flag("model", path);
    } else if let Some(name) = given {
        line.flag("model", search.find("model", name, sha256)?);
    } else if let Some(sha256) = sha256
        && own.pointer("/flags/unet").is_none()
        && !args.force
    {
        let demo = model::demo_sha256()?;
        if sha256 != demo {
            return Err(AppError::BadInput(format!(
                "{}: was made with another built-in model ({}) than this program's ({}); --force takes this one",
                args.file.display(),
                hash::short(sha256),
                hash::short(&demo)
            )));
        }
    }
    Ok(())
}
