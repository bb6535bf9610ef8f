//! `latent upscale`: an image made larger.

use crate::args::UpscaleArgs;
use crate::progress::Progress;
use crate::{check_environment, check_threads, device, interrupt, print};
use latent_app::AppError;
use latent_app::fallback::or_on_cpu;
use latent_app::text::format_bytes;
use latent_app::upscale::{UpscaleJob, UpscaleOptions};
use latent_diffusion::Event;
use latent_diffusion::tensor::Device;
use std::sync::atomic::AtomicBool;

pub(crate) fn run(args: &UpscaleArgs) -> Result<(), AppError> {
    check_environment()?;
    let threads = check_threads(args.threads)?;
    let interrupted = interrupt::listen()?;
    latent_kernels::parallel::with_threads(threads, || upscale(args, &interrupted))
        .map_err(AppError::RunTime)?
}

fn upscale(args: &UpscaleArgs, interrupted: &AtomicBool) -> Result<(), AppError> {
    let mut options = UpscaleOptions::new(args.image.clone());
    options.model.clone_from(&args.upscale_model);
    options.models_dir.clone_from(&args.models_dir);
    options.output.clone_from(&args.output);
    options.scale = args.scale;
    options.tile = args.tiling.tile;
    let job = UpscaleJob::open(&options)?;
    let auto = args.device.device == device::Choice::Auto;
    let mut device = if job.enlarger().has_network() { device::open(&args.device)? } else { Device::Cpu };
    if args.verbose {
        eprintln!("memory, estimated: {}", format_bytes(job.memory()));
    }
    let mut progress = Progress::new(args.verbose);
    let mut listener = |event: Event<'_>| {
        progress.show(&event);
        interrupt::flow(interrupted)
    };
    let on_fault = |error: &latent_diffusion::Error| eprintln!("latent: {error}; continuing on the CPU");
    let large = or_on_cpu(&mut device, auto, |device| job.run(device, &mut listener), on_fault)?;
    progress.finish();
    let path = job.write(&large)?;
    device::keep_pipelines(&device);
    print(&format!("{} ({}x{})\n", path.display(), large.width, large.height))
}
