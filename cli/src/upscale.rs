//! Making images larger: `latent upscale`, and what the second pass of a drawing is given.

use crate::args::UpscaleArgs;
use crate::output::Output;
use crate::progress::Progress;
use crate::{check_environment, check_threads, device, image_file, interrupt, model, print};
use latent_app::text::format_bytes as bytes;
use latent_app::{AppError, models};
use latent_diffusion::tensor::Device;
use latent_diffusion::upscaler::{MAX_PIXELS, Tiling, UpscalerFile};
use latent_diffusion::{Error, Event, Image, Listener};
use latent_loader::Checkpoint;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many times as wide and high an image becomes if nothing is said.
const USUAL_SCALE: f64 = 2.0;
/// The most.
const MAX_SCALE: f64 = 16.0;
/// How often a network enlarges an image for a size that once does not reach, as in the webui.
const MAX_RUNS: usize = 3;

/// Enlarges images: an ESRGAN, or Lanczos' filter alone.
pub(crate) struct Enlarger {
    /// The network, and what it is called.
    network: Option<(UpscalerFile, String)>,
    tiling: Tiling,
}

impl Enlarger {
    /// With the network of a file or of a name, if there is one, and tiles of that side.
    pub(crate) fn open(
        model: Option<&Path>,
        models_dir: Option<&Path>,
        tile: usize,
    ) -> Result<Enlarger, AppError> {
        let open = |path: &Path| -> Result<_, AppError> {
            let path = model::locate(path, models_dir)?;
            Ok((UpscalerFile::open(Checkpoint::open(&path)?)?, models::stem(&path)))
        };
        let tiling = Tiling { side: tile, ..Tiling::default() };
        Ok(Enlarger { network: model.map(open).transpose()?, tiling })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        self.network.as_ref().map_or("Lanczos", |(_, name)| name)
    }

    /// How many times as wide and high it makes an image by itself.
    fn own_scale(&self) -> f64 {
        self.network.as_ref().map_or(USUAL_SCALE, |(file, _)| file.config().scale() as f64)
    }

    /// Bytes that enlarging takes beside the program, at most.
    pub(crate) fn memory(&self, width: usize, height: usize) -> u64 {
        let of = |file: &UpscalerFile| {
            file.weights().total_bytes() + file.config().memory(width, height, self.tiling)
        };
        self.network.as_ref().map_or(0, |(file, _)| of(file))
    }

    /// Makes an image of a size of it. A network enlarges it until it is as large; the rest is Lanczos' work.
    pub(crate) fn enlarge(
        &self,
        image: &Image,
        (width, height): (usize, usize),
        device: &Device,
        listener: &mut Listener<'_>,
    ) -> Result<Image, Error> {
        let mut large = image.clone();
        if let Some((file, _)) = &self.network {
            for run in 0..MAX_RUNS {
                let is_done = large.width >= width && large.height >= height;
                if run > 0 && (is_done || file.config().scale() == 1) {
                    break;
                }
                large = file.upscale(&large, device, self.tiling, listener)?;
            }
        }
        Ok(image_file::resized(&large, width, height))
    }
}

/// An image's size times a factor.
pub(crate) fn scaled(
    name: &str,
    (width, height): (usize, usize),
    scale: f64,
) -> Result<(usize, usize), AppError> {
    if !(1.0..=MAX_SCALE).contains(&scale) {
        return Err(AppError::BadInput(format!("{name}: {scale} is not in 1 to {MAX_SCALE}; 2 is usual")));
    }
    let side = |side: usize| (side as f64 * scale) as usize;
    Ok((side(width), side(height)))
}

pub(crate) fn run(args: &UpscaleArgs) -> Result<(), AppError> {
    check_environment()?;
    let threads = check_threads(args.threads)?;
    let interrupted = interrupt::listen()?;
    latent_kernels::parallel::with_threads(threads, || upscale(args, &interrupted))
        .map_err(AppError::RunTime)?
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
    let auto = args.device.device == device::Choice::Auto;
    let mut place = if enlarger.network.is_some() { device::open(&args.device)? } else { Device::Cpu };
    if args.verbose {
        let need = enlarger.memory(image.width, image.height);
        eprintln!("memory, estimated: {}", bytes(need));
    }
    let mut progress = Progress::new(args.verbose);
    let mut listener = |event: Event<'_>| {
        progress.show(&event);
        if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let large = match enlarger.enlarge(&image, size, &place, &mut listener) {
        Err(error) if auto && error.is_gpu_fault() => {
            eprintln!("latent: {error}; going on on the CPU");
            place = Device::Cpu;
            enlarger.enlarge(&image, size, &place, &mut listener)?
        }
        large => large?,
    };
    progress.finish();
    let name = enlarger.name();
    let texts = [
        ("postprocessing", format!("Postprocess upscale by: {scale}, Postprocess upscaler: {name}")),
        ("latent", json!({"command": "upscale", "scale": scale, "upscaler": name}).to_string()),
    ];
    let path = output.path(0, 0);
    output.write(&path, &large, &texts)?;
    device::keep_pipelines(&place);
    print(&format!("{} ({}x{})\n", path.display(), large.width, large.height))
}

/// A name in the working folder for an enlarged image.
fn beside(image: &Path, scale: f64) -> PathBuf {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    PathBuf::from(format!("{stem}-{scale}x.png"))
}
