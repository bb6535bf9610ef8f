//! Making images larger: `latent upscale`, and what the second pass of a drawing is given.

use crate::args::UpscaleArgs;
use crate::inspect::bytes;
use crate::progress::Progress;
use crate::{interrupt, print};
use latent_app::AppError;
use latent_app::device::{or_on_cpu, save_pipelines};
use latent_app::image_file;
use latent_app::output::Output;
use latent_app::threads::in_threads;
use latent_app::upscale::{Enlarger, scaled};
use latent_diffusion::tensor::Device;
use latent_diffusion::upscaler::MAX_PIXELS;
use latent_diffusion::{Error, Event};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) fn run(args: &UpscaleArgs) -> Result<(), AppError> {
    let interrupted = interrupt::listen()?;
    in_threads(args.threads, || upscale(args, &interrupted))
}

fn upscale(args: &UpscaleArgs, interrupted: &AtomicBool) -> Result<(), AppError> {
    let enlarger =
        Enlarger::open(args.upscale_model.as_deref(), args.models_dir.as_deref(), args.tiling.tile)?;
    let image = image_file::read(&args.image)?.over(image_file::GROUND);
    let scale = args.scale.unwrap_or(enlarger.own_scale());
    let size = scaled("scale", (image.width, image.height), scale)?;
    if size.0.saturating_mul(size.1) > MAX_PIXELS {
        let (width, height) = size;
        let most = MAX_PIXELS / 1_000_000;
        let line = format!("scale: {width}x{height} are more than {most} million pixels; give a smaller one");
        return Err(AppError::BadInput(line));
    }
    if let Some((file, _)) = &enlarger.network {
        file.config().check(&image)?;
    }
    let output = args.output.clone().unwrap_or_else(|| beside(&args.image, scale));
    let output = Output::new(Some(&output), "")?;
    let device = args.device.options();
    let drawing = |error: &AppError| eprintln!("latent: {error}; drawing on the CPU");
    let mut place = if enlarger.network.is_some() { device.open(&mut { drawing })? } else { Device::Cpu };
    if args.verbose {
        let need = enlarger.memory(image.width, image.height);
        eprintln!("memory, estimated: {}", bytes(need));
    }
    let mut progress = Progress::new(args.verbose);
    let mut listener = |event: Event<'_>| {
        progress.show(&event);
        if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let to_cpu = |place: &mut Device, error: &Error| {
        eprintln!("latent: {error}; continuing on the CPU");
        *place = Device::Cpu;
    };
    let large = or_on_cpu(&mut place, device.is_auto(), to_cpu, |place| {
        enlarger.enlarge(&image, size, place, &mut listener)
    })?;
    progress.finish();
    let name = enlarger.name();
    let texts = [
        ("postprocessing", format!("Postprocess upscale by: {scale}, Postprocess upscaler: {name}")),
        ("latent", json!({"command": "upscale", "scale": scale, "upscaler": name}).to_string()),
    ];
    let path = output.path(0, 0);
    output.write(&path, &large, &texts)?;
    if let Err(line) = save_pipelines(&place) {
        eprintln!("latent: {line}; compiled pipelines are not kept");
    }
    print(&format!("{} ({}x{})\n", path.display(), large.width, large.height))
}

/// A name in the working folder for an enlarged image.
fn beside(image: &Path, scale: f64) -> PathBuf {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    PathBuf::from(format!("{stem}-{scale}x.png"))
}
