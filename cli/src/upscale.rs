//! `latent upscale`: an image made larger.

use crate::args::UpscaleArgs;
use crate::console::{self, print};
use crate::hint_excess;
use crate::image_output;
use crate::interrupt;
use crate::progress::Progress;
use latent_app::AppError;
use latent_app::device::{or_on_cpu, save_pipelines};
use latent_app::text::format_bytes;
use latent_app::threads::in_threads;
use latent_app::upscale::{UpscaleJob, UpscaleOptions};
use latent_diffusion::tensor::Device;
use latent_diffusion::{Error, Event};
use latent_loader::Plain;
use std::sync::atomic::AtomicBool;

pub(crate) fn run(args: &UpscaleArgs) -> Result<(), AppError> {
    let interrupted = interrupt::listen()?;
    hint_excess(args.threads);
    in_threads(args.threads, || upscale(args, &interrupted))
}

fn upscale(args: &UpscaleArgs, interrupted: &AtomicBool) -> Result<(), AppError> {
    let mut options = UpscaleOptions::new(args.image.clone());
    options.model.clone_from(&args.upscale_model);
    options.models_dir.clone_from(&args.models_dir);
    options.output.clone_from(&args.output);
    options.scale = args.scale;
    options.denoise_strength = args.denoise_strength;
    options.tile = args.tiling.tile;
    let stream = args.output.as_deref().filter(|path| image_output::is_standard_output(path));
    let stream = stream.map(|_| image_output::standard_output()).transpose()?;
    let job = UpscaleJob::open_into(&options, stream)?;
    let choice = args.device.options();
    let mut failed = |error: &AppError| console::hint(format_args!("latent: {error}; drawing on the CPU"));
    let mut device = if job.enlarger().has_network() { choice.open(&mut failed)? } else { Device::Cpu };
    if args.verbose {
        console::hint(format_args!("memory, estimated: {}", format_bytes(job.memory())));
    }
    let mut progress = Progress::new(args.verbose);
    let mut listener = |event: Event<'_>| {
        progress.show(&event);
        interrupt::flow(interrupted)
    };
    let to_cpu = |device: &mut Device, error: &Error| {
        console::hint(format_args!("latent: {error}; continuing on the CPU"));
        *device = Device::Cpu;
    };
    let large = or_on_cpu(&mut device, choice.is_auto(), to_cpu, |device| job.run(device, &mut listener))?;
    progress.finish();
    let written = job.write(&large)?;
    if let Err(line) = save_pipelines(&device) {
        console::hint(format_args!("latent: {line}; compiled pipelines are not kept"));
    }
    let path = written
        .path
        .map(|path| format!("{} ({}x{})\n", Plain(&path.display().to_string()), large.width, large.height));
    print(&path.unwrap_or_default())
}
