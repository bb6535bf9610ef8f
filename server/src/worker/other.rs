//! Jobs that are not drawn from words: images made larger, and images drawn again.

use super::pool::SessionPool;
use super::report::JobReport;
use crate::error::ApiError;
use latent_app::device::or_on_cpu;
use latent_app::image_file::InputImage;
use latent_app::job::InlineImage;
use latent_app::replay::{Replay, ReplayOptions};
use latent_app::threads::in_threads;
use latent_app::upscale::{Enlarger, UpscaleJob, UpscaleOptions, UpscalePart};
use latent_app::{AppError, image_file};
use latent_diffusion::tensor::Device;
use latent_diffusion::upscaler::Tiling;
use latent_diffusion::{Error, Event, Image, Listener};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An image in a folder of its own, under its name, until this is dropped.
struct TemporaryImage {
    _folder: TempDir,
    path: PathBuf,
}

impl TemporaryImage {
    fn new(image: &InlineImage, folder: &Path) -> Result<TemporaryImage, ApiError> {
        let failed = |error| ApiError::io("a temporary file", &error);
        let folder = TempDir::new_in(folder).map_err(failed)?;
        let path = folder.path().join(&image.name);
        std::fs::write(&path, &image.bytes).map_err(failed)?;
        Ok(TemporaryImage { _folder: folder, path })
    }
}

/// An error whose line does not say where the temporary file is.
fn without_folder(error: AppError, path: &Path) -> ApiError {
    let mut error = ApiError::from(error);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    error.message = error.message.replace(&path.display().to_string(), &name);
    error
}

/// Makes an image larger.
pub(super) fn upscale(
    image: &InlineImage,
    model: Option<PathBuf>,
    scale: Option<f64>,
    report: &mut JobReport<'_>,
) -> Result<(), ApiError> {
    let file = TemporaryImage::new(image, &report.options.temporary)?;
    let mut options = UpscaleOptions::new(file.path.clone());
    (options.model, options.scale) = (model, scale);
    options.output = Some(report.path(&[]));
    let drawn = in_threads(report.options.threads, || {
        let job = UpscaleJob::open(&options)?;
        let run = |device: &Device, listener: &mut Listener<'_>| job.run(device, listener);
        let (large, warnings) = on_device(job.enlarger(), report, run)?;
        let written = job.write(&large)?;
        Ok((written.path, large, warnings))
    });
    let (path, large, warnings) = drawn.map_err(|error| without_folder(error, &file.path))?;
    warnings.iter().for_each(|line| report.warn(line));
    if let Some(path) = path {
        report.written(&path, None, &large);
    }
    Ok(())
}

/// Makes a part of an image larger.
pub(super) fn upscale_part(
    image: &InlineImage,
    model: Option<&Path>,
    part: &UpscalePart,
    report: &mut JobReport<'_>,
) -> Result<(), ApiError> {
    let (large, warnings) = in_threads(report.options.threads, || {
        let seen = image_file::decode_bytes(&image.name, &image.bytes)?.over(image_file::BACKGROUND);
        let enlarger = Enlarger::open(model, None, Tiling::default().side)?;
        on_device(&enlarger, report, |device, listener| enlarger.enlarge_part(&seen, part, device, listener))
    })?;
    warnings.iter().for_each(|line| report.warn(line));
    report.write_image((&large, None), &[], &[])
}

/// Enlarges on the job's device, or on the CPU where there is no network or a GPU fails; the result, and warnings.
fn on_device(
    enlarger: &Enlarger,
    report: &mut JobReport<'_>,
    run: impl Fn(&Device, &mut Listener<'_>) -> Result<Image, Error>,
) -> Result<(Image, Vec<String>), AppError> {
    let (cancel, choice) = (report.cancel.clone(), report.options.device.clone());
    let mut warnings = Vec::new();
    let mut device = if enlarger.has_network() {
        choice.open(&mut |error| warnings.push(format!("{error}; drawing on the CPU")))?
    } else {
        Device::Cpu
    };
    let mut listener = |event: Event<'_>| {
        if let Event::Upscaled { tile, total } = event {
            report.progress("upscaling", tile, total, tile as f64 / total.max(1) as f64);
        }
        if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let to_cpu = |device: &mut Device, error: &Error| {
        warnings.push(format!("{error}; continuing on the CPU"));
        *device = Device::Cpu;
    };
    let large = or_on_cpu(&mut device, choice.is_auto(), to_cpu, |device| run(device, &mut listener))?;
    Ok((large, warnings))
}

/// Draws an image again by its metadata.
pub(super) fn replay(
    image: &InlineImage,
    force: bool,
    pool: &mut SessionPool,
    report: &mut JobReport<'_>,
) -> Result<(), ApiError> {
    let file = TemporaryImage::new(image, &report.options.temporary)?;
    let replay = Replay::open(&replay_options(&file.path, report, force))
        .map_err(|error| without_folder(error, &file.path))?;
    replay.doubts.iter().for_each(|line| report.warn(line));
    replay.not_followed.iter().for_each(|line| report.warn(&format!("not followed: {line}")));
    let mut job = replay.job.clone();
    report.prepare(&mut job);
    report.units = job.batch.count().max(1);
    let mut open = pool.take(&job);
    let (cancel, own) = (report.cancel.clone(), open.bytes);
    let drawn = replay.draw(&job, &mut open.session, &cancel, &mut |event| report.take(event, pool, own));
    pool.give_back(open);
    let drawn = match drawn {
        Ok(drawn) => drawn,
        Err(error) => return report.ended(Err(error)),
    };
    report.write_image((&drawn.image, drawn.rgba.as_deref()), &drawn.texts, &[drawn.seed])?;
    if let Some(error) = drawn.incomplete {
        report.warn(&error.to_string());
    }
    let after = InputImage::drawn(drawn.image, drawn.rgba.as_deref());
    report.warn(&format!("{} {}", image.name, replay.compare(&after)));
    Ok(())
}

/// A replay that looks for files in the folders of the server alone.
fn replay_options(file: &Path, report: &JobReport<'_>, force: bool) -> ReplayOptions {
    let mut options = ReplayOptions::new(file);
    options.models_dir = report.options.models.models_dir().map(Path::to_owned);
    options.folders = vec![report.options.gallery.folder().to_owned()];
    options.folders.extend(report.options.lora_dir.clone());
    options.only_folders = true;
    options.force = force;
    options
}
