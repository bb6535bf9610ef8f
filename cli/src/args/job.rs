//! A parsed command line as a job.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use latent_app::device::DeviceChoice;
use latent_app::job::{Job, JobOptionKind, JobTask, OPTIONS};
use latent_app::{AppError, models};
use std::ffi::OsStr;

/// The job of a command that draws: every option of jobs that was given. Prompts by place, and what follows them, are
/// the caller's.
pub(super) fn job(task: JobTask, command: &Command, matches: &ArgMatches) -> Result<Job, AppError> {
    let mut job = Job::new(task, "");
    for option in OPTIONS {
        let id = option.name().replace('-', "_");
        let named = command.get_arguments().find(|arg| arg.get_long() == Some(option.name()));
        let Some(arg) = named.or_else(|| command.get_arguments().find(|arg| arg.get_id() == id.as_str()))
        else {
            continue;
        };
        let id = arg.get_id().as_str();
        if !is_given(matches, id) {
            continue;
        }
        let values: Vec<&OsStr> = match option.kind() {
            JobOptionKind::Switch => Vec::new(),
            _ => matches.get_raw(id).into_iter().flatten().collect(),
        };
        option.set_os(&mut job, &values)?;
    }
    if let Ok(Some(gpus)) = matches.try_get_one::<DeviceChoice>("gpu") {
        job.device.device = Some(gpus.clone());
    }
    if let Ok(Some(true)) = matches.try_get_one("fast_vae") {
        let selection = &job.model;
        let network = selection.parts.unet.as_deref().or(selection.model.as_deref());
        job.taesd = Some(models::tiny_vae(network, selection.models_dir.as_deref())?);
    }
    Ok(job)
}

/// Whether a person gave a flag, or its environment variable.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    let source = matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id));
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}
