//! Making images larger with an ESRGAN or by Lanczos' filter.

use crate::{AppError, image_file, model_file, models};
use latent_diffusion::tensor::Device;
use latent_diffusion::upscaler::{Tiling, UpscalerFile};
use latent_diffusion::{Error, Image, Listener};
use latent_loader::Checkpoint;
use std::path::Path;

/// How many times as wide and high an image becomes if nothing is said.
const DEFAULT_SCALE: f64 = 2.0;
/// The most.
const MAX_SCALE: f64 = 16.0;
/// How often a network enlarges an image for a size that once does not reach, as in the webui.
const MAX_RUNS: usize = 3;

/// Enlarges images: an ESRGAN, or Lanczos' filter alone.
pub struct Enlarger {
    /// The network, and what it is called.
    pub network: Option<(UpscalerFile, String)>,
    tiling: Tiling,
}

impl Enlarger {
    /// With the network of a file or of a name, if there is one, and tiles of that side.
    pub fn open(model: Option<&Path>, models_dir: Option<&Path>, tile: usize) -> Result<Enlarger, AppError> {
        let open = |path: &Path| -> Result<_, AppError> {
            let path = model_file::locate(path, models_dir)?;
            Ok((UpscalerFile::open(Checkpoint::open(&path)?)?, models::stem(&path)))
        };
        let tiling = Tiling { side: tile, ..Tiling::default() };
        Ok(Enlarger { network: model.map(open).transpose()?, tiling })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.network.as_ref().map_or("Lanczos", |(_, name)| name)
    }

    /// How many times as wide and high it makes an image by itself.
    pub fn own_scale(&self) -> f64 {
        self.network.as_ref().map_or(DEFAULT_SCALE, |(file, _)| file.config().scale() as f64)
    }

    /// Bytes that enlarging takes beside the program, at most.
    pub fn memory(&self, width: usize, height: usize) -> u64 {
        let of = |file: &UpscalerFile| {
            file.weights().total_bytes() + file.config().memory(width, height, self.tiling)
        };
        self.network.as_ref().map_or(0, |(file, _)| of(file))
    }

    /// Makes an image of a size of it. A network enlarges it until it is as large; the rest is Lanczos' work.
    pub fn enlarge(
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
pub fn scaled(name: &str, (width, height): (usize, usize), scale: f64) -> Result<(usize, usize), AppError> {
    if !(1.0..=MAX_SCALE).contains(&scale) {
        return Err(AppError::BadInput(format!("{name}: {scale} is not in 1 to {MAX_SCALE}; 2 is usual")));
    }
    let side = |side: usize| (side as f64 * scale) as usize;
    Ok((side(width), side(height)))
}
