//! Enlarging images: by an ESRGAN or by Lanczos' filter.

use crate::output::{Output, WrittenImage};
use crate::{AppError, image_file, model_file, models};
use latent_diffusion::tensor::Device;
use latent_diffusion::upscaler::{MAX_PIXELS, Tiling, UpscalerFile};
use latent_diffusion::{Error, Image, Listener};
use latent_loader::Checkpoint;
use serde_json::json;
use std::fmt;
use std::path::{Path, PathBuf};

/// Sides of tiles. Smaller ones would mostly see what overlaps, and there would be millions of them.
const TILES: std::ops::RangeInclusive<usize> = 16..=8192;

/// How many times as wide and high an image becomes without a network, if no factor is given.
const DEFAULT_SCALE: f64 = 2.0;
/// Maximum factor.
const MAX_SCALE: f64 = 16.0;
/// How often a network enlarges an image for a size that one run does not reach, as in the webui.
const MAX_RUNS: usize = 3;

/// Enlarges images: an ESRGAN, or Lanczos' filter alone.
pub struct Enlarger {
    /// The network, and its name.
    network: Option<(UpscalerFile, String)>,
    tiling: Tiling,
}

impl fmt::Debug for Enlarger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enlarger").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Enlarger {
    /// The network of a file or of a name among the models, if there is one, and tiles of that side in pixels.
    ///
    /// # Errors
    /// A side of tiles that is neither 0 nor in 16 to 8192, a file that cannot be opened or is not an upscaler, or a name of
    /// no model or of several.
    pub fn open(model: Option<&Path>, models_dir: Option<&Path>, tile: usize) -> Result<Enlarger, AppError> {
        if tile != 0 && !TILES.contains(&tile) {
            let (min, max) = (TILES.start(), TILES.end());
            let line = format!("tile: {tile} is not in {min} to {max}, nor 0 for the whole image");
            return Err(AppError::BadInput(line));
        }
        let open = |path: &Path| -> Result<_, AppError> {
            let path = model_file::locate_kind(path, models_dir, model_file::kinds_of("hires-upscaler"))?;
            Ok((UpscalerFile::open(Checkpoint::open(&path)?)?, models::stem(&path)))
        };
        let tiling = Tiling { side: tile, ..Tiling::default() };
        Ok(Enlarger { network: model.map(open).transpose()?, tiling })
    }

    /// The network's name, or "Lanczos".
    #[must_use]
    pub fn name(&self) -> &str {
        self.network.as_ref().map_or("Lanczos", |(_, name)| name)
    }

    /// Whether there is a network, which runs on a device.
    #[must_use]
    pub fn has_network(&self) -> bool {
        self.network.is_some()
    }

    /// How many times as wide and high an image becomes if no factor is given.
    #[must_use]
    pub fn own_scale(&self) -> f64 {
        self.network.as_ref().map_or(DEFAULT_SCALE, |(file, _)| file.config().scale() as f64)
    }

    /// Bytes that enlarging an image of that width and height takes, estimated; 0 for the filter.
    #[must_use]
    pub fn memory(&self, width: usize, height: usize) -> u64 {
        let of = |file: &UpscalerFile| {
            file.weights().total_bytes() + file.config().memory(width, height, self.tiling)
        };
        self.network.as_ref().map_or(0, |(file, _)| of(file))
    }

    /// An image of a width and height. A network enlarges it until it is as large; the filter does the rest.
    ///
    /// # Errors
    /// Weights that cannot be read, a fault of a GPU, values that are not finite, or a cancelled run.
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

/// An image's width and height times a factor, rounded down. `name` is the factor's in an error.
///
/// # Errors
/// Bad input, if the factor is not 1 to 16.
pub fn scaled(name: &str, (width, height): (usize, usize), scale: f64) -> Result<(usize, usize), AppError> {
    if !(1.0..=MAX_SCALE).contains(&scale) {
        return Err(AppError::BadInput(format!("{name}: {scale} must be 1 to {MAX_SCALE}; 2 is usual")));
    }
    let side = |side: usize| (side as f64 * scale) as usize;
    Ok((side(width), side(height)))
}

/// What is to be enlarged, by what, and where to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UpscaleOptions {
    /// The image.
    pub image: PathBuf,
    /// An ESRGAN: a file, or a name among the models. Without one, Lanczos' filter enlarges.
    pub model: Option<PathBuf>,
    /// The folder in which a model's name is looked for, in place of the usual ones.
    pub models_dir: Option<PathBuf>,
    /// How many times as wide and high the image becomes; without it, what the model makes, or 2.
    pub scale: Option<f64>,
    /// Side of the tiles in pixels of the image; 0 for none.
    pub tile: usize,
    /// The file to write, which is replaced if it is there; without it, the image's name and the factor in the working
    /// folder, with a number if a file has that name.
    pub output: Option<PathBuf>,
}

impl UpscaleOptions {
    /// An image by Lanczos' filter, twice as wide and high.
    #[must_use]
    pub fn new(image: PathBuf) -> UpscaleOptions {
        let tile = Tiling::default().side;
        UpscaleOptions { image, model: None, models_dir: None, scale: None, tile, output: None }
    }
}

/// An image that is ready to be enlarged: everything is opened and checked.
#[derive(Debug)]
pub struct UpscaleJob {
    enlarger: Enlarger,
    image: Image,
    scale: f64,
    size: (usize, usize),
    output: Output,
}

impl UpscaleJob {
    /// Opens the network, reads the image, and checks the size and the file to write.
    ///
    /// # Errors
    /// Bad input: files that cannot be read, a factor that is not 1 to 16, an image that becomes too large, a file that
    /// cannot be written.
    pub fn open(options: &UpscaleOptions) -> Result<UpscaleJob, AppError> {
        UpscaleJob::open_into(options, None)
    }

    /// The same with an output in place of the options' own.
    ///
    /// # Errors
    /// As [`UpscaleJob::open`].
    pub fn open_into(options: &UpscaleOptions, output: Option<Output>) -> Result<UpscaleJob, AppError> {
        let enlarger = Enlarger::open(options.model.as_deref(), options.models_dir.as_deref(), options.tile)?;
        let image = image_file::read(&options.image)?.over(image_file::BACKGROUND);
        let scale = options.scale.unwrap_or(enlarger.own_scale());
        let size = scaled("scale", (image.width, image.height), scale)?;
        if size.0.saturating_mul(size.1) > MAX_PIXELS {
            let ((width, height), max) = (size, MAX_PIXELS / 1_000_000);
            return Err(AppError::BadInput(format!(
                "scale: {width}x{height} are more than {max} million pixels; give a smaller one"
            )));
        }
        if let Some((file, _)) = &enlarger.network {
            file.config().check(&image)?;
        }
        let output = match (output, &options.output) {
            (Some(output), _) => output,
            (None, Some(path)) => Output::file(path)?,
            (None, None) => Output::with_default_file(&default_name(&options.image, scale))?,
        };
        Ok(UpscaleJob { enlarger, image, scale, size, output })
    }

    /// What enlarges.
    #[must_use]
    pub fn enlarger(&self) -> &Enlarger {
        &self.enlarger
    }

    /// Bytes of memory that it takes, estimated.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.enlarger.memory(self.image.width, self.image.height)
    }

    /// Enlarges the image on a device.
    ///
    /// # Errors
    /// As [`Enlarger::enlarge`].
    pub fn run(&self, device: &Device, listener: &mut Listener<'_>) -> Result<Image, Error> {
        self.enlarger.enlarge(&self.image, self.size, device, listener)
    }

    /// Writes the enlarged image with the texts that say how it was made, as the webui does, to a PNG, JPEG or WebP file,
    /// or as a PNG to a stream.
    ///
    /// # Errors
    /// A file or stream that cannot be written.
    pub fn write(&self, image: &Image) -> Result<WrittenImage, AppError> {
        let (scale, name) = (self.scale, self.enlarger.name());
        let texts = [
            ("postprocessing", format!("Postprocess upscale by: {scale}, Postprocess upscaler: {name}")),
            ("latent", json!({"command": "upscale", "scale": scale, "upscaler": name}).to_string()),
        ];
        // Two short texts fit into every format.
        self.output.write(&self.output.path(0, 0), image, &texts)
    }
}

/// A name in the working folder for an enlarged image.
fn default_name(image: &Path, scale: f64) -> PathBuf {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    PathBuf::from(format!("{stem}-{scale}x.png"))
}
