//! Enlarging images: by a network or by Lanczos' filter.

mod parts;
mod plan;

pub use parts::UpscalePart;
pub use plan::UpscalePlan;

use crate::output::{Output, WrittenImage};
use crate::{AppError, image_file, model_file, models};
use latent_diffusion::tensor::Device;
use latent_diffusion::upscaler::{Tiling, UpscalerFile};
use latent_diffusion::{Error, Image, Listener};
use latent_loader::Checkpoint;
use std::fmt;
use std::path::{Path, PathBuf};

/// Sides of tiles. Smaller ones would mostly see what overlaps, and there would be millions of them.
const TILES: std::ops::RangeInclusive<usize> = 16..=8192;

/// Lanczos' filter, where a network could be named.
pub(crate) const LANCZOS: &str = "lanczos";

/// The network that is built in.
#[cfg(feature = "demo")]
const BUILT_IN: Option<(&str, &[u8])> = Some(("realesr-animevideov3", latent_demo::UPSCALER));

/// This program is built without one.
#[cfg(not(feature = "demo"))]
const BUILT_IN: Option<(&str, &[u8])> = None;

/// How many times as wide and high an image becomes without a network, if no factor is given.
const DEFAULT_SCALE: f64 = 2.0;
/// Maximum factor.
const MAX_SCALE: f64 = 16.0;
/// How often a network enlarges an image for a size that one run does not reach, as in the webui.
const MAX_RUNS: usize = 3;

/// The name of the network that is built in, which needs no file; `None` in a program without it.
#[must_use]
pub fn built_in() -> Option<&'static str> {
    BUILT_IN.map(|(name, _)| name)
}

/// Enlarges images: a network, or Lanczos' filter alone.
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
    /// The network of a file or of a name among the models, the built-in one if nothing is named, or the filter by the name
    /// `lanczos`; and tiles of that side in pixels.
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
        let tiling = Tiling { side: tile, ..Tiling::default() };
        let is_built_in = |path: &Path| BUILT_IN.is_some_and(|(name, _)| path == Path::new(name));
        let network = match (model, BUILT_IN) {
            (Some(path), _) if path == Path::new(LANCZOS) => None,
            (Some(path), _) if !is_built_in(path) => {
                let path = model_file::locate_kind(path, models_dir, model_file::kinds_of("hires-upscaler"))?;
                Some((UpscalerFile::open(Checkpoint::open(&path)?)?, models::stem(&path)))
            }
            (_, None) => None,
            (_, Some((name, bytes))) => {
                Some((UpscalerFile::open(Checkpoint::from_bytes(name, bytes)?)?, name.to_owned()))
            }
        };
        Ok(Enlarger { network, tiling })
    }

    /// The same with a network of Real-ESRGAN's general kind mixed with its sibling, which is beside its file and keeps noise
    /// (`realesr-general-wdn-x4v3`): a strength of 1 is the network alone, 0 the sibling alone.
    ///
    /// # Errors
    /// A strength that is not 0 to 1, a network without a sibling.
    pub fn with_denoise_strength(
        mut self,
        model: Option<&Path>,
        models_dir: Option<&Path>,
        strength: f64,
    ) -> Result<Enlarger, AppError> {
        if !(0.0..=1.0).contains(&strength) {
            return Err(AppError::BadInput(format!("denoise strength: {strength} is not in 0 to 1")));
        }
        let kinds = model_file::kinds_of("hires-upscaler");
        let path = model.map(|path| model_file::locate_kind(path, models_dir, kinds)).transpose()?;
        let name = path.as_deref().map_or_else(|| self.name().to_owned(), |path| path.display().to_string());
        let sibling = path.as_deref().and_then(denoise_sibling);
        let Some((sibling, (file, stem))) = sibling.zip(self.network.take()) else {
            return Err(AppError::BadInput(format!(
                "{name}: has no denoise strength; give realesr-general-x4v3, with realesr-general-wdn-x4v3 in its folder"
            )));
        };
        let sibling = UpscalerFile::open(Checkpoint::open(&sibling)?)?;
        self.network = Some((file.mixed(&sibling, 1.0 - strength)?, stem));
        Ok(self)
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
            for _ in self.runs((image.width, image.height), (width, height)) {
                large = file.upscale(&large, device, self.tiling, listener)?;
            }
        }
        Ok(image_file::resized(&large, width, height))
    }

    /// Width and height of what each run of the network is given, for an image of that size to become as large as another.
    fn runs(&self, from: (usize, usize), to: (usize, usize)) -> Vec<(usize, usize)> {
        let Some((file, _)) = &self.network else { return Vec::new() };
        let (mut runs, scale) = (Vec::new(), file.config().scale());
        let (mut width, mut height) = from;
        while runs.len() < MAX_RUNS {
            if !runs.is_empty() && (scale == 1 || width >= to.0 && height >= to.1) {
                break;
            }
            runs.push((width, height));
            (width, height) = (width.saturating_mul(scale), height.saturating_mul(scale));
        }
        runs
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
    /// A network: a file, or a name among the models. Without one, the built-in network enlarges, or Lanczos' filter in a
    /// program without it; `lanczos` is the filter.
    pub model: Option<PathBuf>,
    /// How much noise a network of Real-ESRGAN's general kind removes, 0 to 1; all that it does when `None`.
    pub denoise_strength: Option<f64>,
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
    /// An image by what enlarges if nothing is named.
    #[must_use]
    pub fn new(image: PathBuf) -> UpscaleOptions {
        let tile = Tiling::default().side;
        UpscaleOptions {
            image,
            model: None,
            denoise_strength: None,
            models_dir: None,
            scale: None,
            tile,
            output: None,
        }
    }
}

/// An image that is ready to be enlarged, and where it goes: everything is opened and checked.
#[derive(Debug)]
pub struct UpscaleJob {
    plan: UpscalePlan,
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
        let (model, models_dir) = (options.model.as_deref(), options.models_dir.as_deref());
        let mut enlarger = Enlarger::open(model, models_dir, options.tile)?;
        if let Some(strength) = options.denoise_strength {
            enlarger = enlarger.with_denoise_strength(model, models_dir, strength)?;
        }
        let image = image_file::read(&options.image)?.over(image_file::BACKGROUND);
        let plan = UpscalePlan::new(enlarger, image, options.scale)?;
        let output = match (output, &options.output) {
            (Some(output), _) => output,
            (None, Some(path)) => Output::file(path)?,
            (None, None) => Output::with_default_file(&default_name(&options.image, plan.scale()))?,
        };
        Ok(UpscaleJob { plan, output })
    }

    /// What enlarges.
    #[must_use]
    pub fn enlarger(&self) -> &Enlarger {
        self.plan.enlarger()
    }

    /// Bytes of memory that it takes, estimated.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.plan.memory()
    }

    /// Enlarges the image on a device.
    ///
    /// # Errors
    /// As [`Enlarger::enlarge`].
    pub fn run(&self, device: &Device, listener: &mut Listener<'_>) -> Result<Image, Error> {
        self.plan.run(device, listener)
    }

    /// Writes the enlarged image with the texts that say how it was made, as the webui does, to a PNG, JPEG or WebP file,
    /// or as a PNG to a stream.
    ///
    /// # Errors
    /// A file or stream that cannot be written.
    pub fn write(&self, image: &Image) -> Result<WrittenImage, AppError> {
        // Two short texts fit into every format.
        self.output.write(&self.output.path(0, 0), image, &self.plan.texts())
    }
}

/// The network beside another one that keeps the noise which that one removes, if there is one: its name has `-wdn` before the
/// factor.
fn denoise_sibling(path: &Path) -> Option<PathBuf> {
    let (stem, extension) = (path.file_stem()?.to_str()?, path.extension()?.to_str()?);
    let (name, factor) = stem.rsplit_once("-x")?;
    let sibling = path.with_file_name(format!("{name}-wdn-x{factor}.{extension}"));
    (!name.ends_with("-wdn") && sibling.is_file()).then_some(sibling)
}

/// A name in the working folder for an enlarged image.
fn default_name(image: &Path, scale: f64) -> PathBuf {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    PathBuf::from(format!("{stem}-{scale}x.png"))
}
