//! The job of an image that another program drew: as much as can be followed, and a word on the rest.

use super::options::ReplayOptions;
use super::search::{FileSearch, WantedHash};
use crate::error::Remedy;
use crate::job::{Img2imgTask, Job, JobTask, SamplerChoice};
use crate::metadata::{ImageMetadata, MetadataKey};
use crate::{AppError, hash, model_file, models};
use latent_diffusion::names::{Named, key};
use latent_diffusion::schedule::ScheduleKind;
use std::path::{Path, PathBuf};

/// What is not followed of an image that began with another one, which its file does not hold.
pub(super) const NEEDS_IMAGE: &str = "strength (it began with an image)";
/// Maximum part of merged tokens that is followed: other programs merge up to three of four.
const MAX_TOKEN_MERGING: f64 = 0.5;
/// Programs that draw their noise on the CPU.
const ON_THE_CPU: [&str; 3] = ["ComfyUI", "InvokeAI", "SwarmUI"];

/// The job, and the recorded settings that it does not follow.
pub(super) fn job(
    metadata: &ImageMetadata,
    options: &ReplayOptions,
    search: &mut FileSearch<'_>,
) -> Result<(Job, Vec<String>), AppError> {
    let mut job = Job::txt2img(metadata.get(MetadataKey::Prompt).unwrap_or(""));
    job.negative_prompt = metadata.get(MetadataKey::Negative).unwrap_or("").to_owned();
    let mut lost = Vec::new();
    if let Some(image) = &options.image {
        job.task = JobTask::Img2img(Img2imgTask::new(image.clone()));
    }
    let numbers = [
        (MetadataKey::Seed, "seed"),
        (MetadataKey::Steps, "steps"),
        (MetadataKey::CfgScale, "cfg-scale"),
        (MetadataKey::Width, "width"),
        (MetadataKey::Height, "height"),
        (MetadataKey::ClipSkip, "clip-skip"),
    ];
    for (key, name) in numbers {
        match metadata.get(key).map(str::parse::<f64>) {
            Some(Ok(_)) => job.set(name, &[metadata.get(key).unwrap_or("")])?,
            Some(Err(_)) => lost.push(key.name().to_owned()),
            None => {}
        }
    }
    match (metadata.get(MetadataKey::Strength), &options.image) {
        (Some(strength), Some(_)) => job.set("strength", &[strength])?,
        // Of a second pass, which is among the others.
        (Some(_), None) if metadata.others.iter().any(|(name, _)| name.starts_with("Hires")) => {}
        (Some(_), None) => lost.push(NEEDS_IMAGE.into()),
        _ => {}
    }
    match metadata.get(MetadataKey::TokenMerging).map(|ratio| (ratio, ratio.parse())) {
        Some((ratio, Ok(0.0..=MAX_TOKEN_MERGING))) => job.set("tome", &[ratio])?,
        Some((ratio, _)) => lost.push(format!("token merging ratio {ratio}")),
        None => {}
    }
    variation(metadata, &mut job, &mut lost)?;
    sampling(metadata, &mut job, &mut lost)?;
    let on_cpu = ON_THE_CPU.iter().any(|program| metadata.program.starts_with(program));
    if on_cpu || metadata.get(MetadataKey::Rng).is_some_and(|rng| rng.eq_ignore_ascii_case("cpu")) {
        job.set("rng", &["cpu"])?;
    }
    model(metadata, options, search, &mut job, &mut lost)?;
    lost.extend(metadata.get(MetadataKey::Vae).map(|vae| format!("VAE {vae}")));
    lost.extend(metadata.others.iter().map(|(name, _)| name.clone()));
    lost.extend(metadata.not_followed.iter().cloned());
    Ok((job, lost))
}

/// Noise of another seed that was mixed in, and whether the image can be tiled.
fn variation(metadata: &ImageMetadata, job: &mut Job, lost: &mut Vec<String>) -> Result<(), AppError> {
    let strength = metadata.get(MetadataKey::VariationStrength);
    match (metadata.get(MetadataKey::VariationSeed), strength.map(str::parse::<f64>)) {
        (_, None | Some(Ok(0.0))) => {}
        (Some(seed), Some(Ok(part))) if (0.0..=1.0).contains(&part) && seed.parse::<u64>().is_ok() => {
            job.set("variation-seed", &[seed])?;
            job.set("variation-strength", &[strength.unwrap_or("")])?;
        }
        _ => lost.push("variation seed".to_owned()),
    }
    match metadata.get(MetadataKey::Seamless).map(str::to_lowercase).as_deref() {
        None | Some("false") => {}
        Some("x") => job.set("seamless", &["x"])?,
        Some("y") => job.set("seamless", &["y"])?,
        Some("true") => job.set("seamless", &["both"])?,
        Some(_) => lost.push("tiling".to_owned()),
    }
    Ok(())
}

/// Sampler and schedule, by the names that programs have for them.
fn sampling(metadata: &ImageMetadata, job: &mut Job, lost: &mut Vec<String>) -> Result<(), AppError> {
    let mut schedule = metadata.get(MetadataKey::Scheduler).filter(|name| !is_usual(name)).map(str::to_owned);
    if let Some(name) = metadata.get(MetadataKey::Sampler) {
        match SamplerChoice::parse(name) {
            Ok(SamplerChoice { sampler, schedule: kind }) => {
                job.set("sampler", &[sampler.name()])?;
                schedule = schedule.or(kind.map(|kind| kind.name().to_owned()));
            }
            Err(_) => lost.push(format!("sampler {name}")),
        }
    }
    if let Some(name) = schedule {
        match ScheduleKind::parse(&name) {
            Ok(kind) => job.set("scheduler", &[kind.name()])?,
            Err(_) => lost.push(format!("scheduler {name}")),
        }
    }
    Ok(())
}

/// Whether a schedule's name says no more than that it is the sampler's own.
fn is_usual(name: &str) -> bool {
    matches!(key(name).as_str(), "automatic" | "native" | "default" | "none")
}

/// The model: that which a person names, or one of the metadata name, which must have the metadata hash.
fn model(
    metadata: &ImageMetadata,
    options: &ReplayOptions,
    search: &mut FileSearch<'_>,
    job: &mut Job,
    lost: &mut Vec<String>,
) -> Result<(), AppError> {
    let hash = metadata.get(MetadataKey::ModelHash).map(str::to_lowercase);
    // The webui's first form had eight digits, of another hash.
    let is_sha256 =
        |hash: &&String| hash.len() >= hash::DIGITS && hash.chars().all(|c| c.is_ascii_hexdigit());
    let sha256 = hash.as_ref().filter(is_sha256);
    if options.model.is_none()
        && sha256
            .is_some_and(|hash| model_file::demo_sha256().is_ok_and(|demo| demo.starts_with(hash.as_str())))
    {
        return Ok(());
    }
    let name = metadata.get(MetadataKey::Model).map(stem);
    let path: PathBuf = match (&options.model, name) {
        (Some(path), _) => model_file::locate(path, options.models_dir.as_deref())?,
        (None, Some(name)) => {
            let found = models::named(name, options.models_dir.as_deref());
            found
                .into_iter()
                .next()
                .ok_or_else(|| lacking(options, &format!("was made with {}", words(name, hash.as_deref()))))?
        }
        (None, None) => return Err(lacking(options, "does not name the model it was made with")),
    };
    match sha256 {
        Some(sha256) => search.check("model", &path, &WantedHash::of_file(sha256))?,
        None => lost.push("which model it was: no hash is recorded".to_owned()),
    }
    job.model.model = Some(path);
    Ok(())
}

fn lacking(options: &ReplayOptions, what: &str) -> AppError {
    let message = format!("{}: {what}", options.file.display());
    AppError::Refused { message, remedy: Remedy::NameModel }
}

/// A model's name and hash.
fn words(name: &str, hash: Option<&str>) -> String {
    hash.map_or_else(|| name.to_owned(), |hash| format!("{name} (hash {})", hash::short(hash)))
}

/// A model's name without folders and ending.
fn stem(name: &str) -> &str {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    match Path::new(name).extension().and_then(|ending| ending.to_str()) {
        Some(ending @ ("safetensors" | "ckpt" | "pt" | "bin")) => &name[..name.len() - ending.len() - 1],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_schedules_say_no_more_than_that_they_are_usual() {
        assert!(is_usual("Automatic") && !is_usual("karras"));
    }

    #[test]
    fn models_have_no_folders_and_endings() {
        assert_eq!(stem("SD1.5\\v1-5.ckpt"), "v1-5");
        assert_eq!(stem("a/b.c.safetensors"), "b.c");
        assert_eq!(stem("dreamshaper_8.1"), "dreamshaper_8.1");
    }
}
