//! Flags of what makes images larger: `latent upscale`, and the second pass of `latent txt2img`.

use super::device::DeviceArgs;
use std::path::PathBuf;

/// `latent upscale`
#[derive(clap::Args)]
#[command(
    after_help = "Without --upscale-model the built-in network realesr-animevideov3 makes the image four times as wide and \
                        high. Transparent parts are white."
)]
pub(crate) struct UpscaleArgs {
    /// Image to enlarge, of any usual format
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,
    /// An ESRGAN, a Compact or a SPAN, such as RealESRGAN_x4plus: a file, or a name of `latent models`; lanczos for the filter
    /// [default: the built-in realesr-animevideov3]
    #[arg(long, alias = "model", value_name = "MODEL")]
    pub(crate) upscale_model: Option<PathBuf>,
    /// How much noise realesr-general-x4v3 removes, 0 to 1, with realesr-general-wdn-x4v3 in its folder [default: 1]
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    pub(crate) denoise_strength: Option<f64>,
    /// How many times as wide and high it becomes [default: what the model makes, 2 with lanczos]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub(crate) scale: Option<f64>,
    /// PNG file to write [default: the image's name and the factor]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tiling: TilingArgs,
    /// Folder in which a model's name is looked for [default: the usual ones]
    #[arg(long, value_name = "DIR")]
    pub(crate) models_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Number of threads [default: one for each core]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Print what is done, how long it took and the memory that it needs
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// How an upscaler sees a large image.
#[derive(clap::Args)]
pub(crate) struct TilingArgs {
    /// Side of the tiles in pixels of the image, beside 64 that overlap on each side; less takes less memory; 0 takes the
    /// image whole
    #[arg(long, value_name = "PIXELS", default_value_t = 512)]
    pub(crate) tile: usize,
}

/// A second pass at a larger size.
#[derive(clap::Args)]
#[command(next_help_heading = "Hires fix")]
pub(crate) struct HiresArgs {
    /// Draw small, enlarge, and redraw: for images larger than the model was made for
    #[arg(long)]
    hires: bool,
    /// How many times as wide and high the second pass is
    #[arg(
        long,
        value_name = "FACTOR",
        default_value_t = 2.0,
        requires = "hires",
        allow_negative_numbers = true
    )]
    hires_scale: f64,
    /// Steps of the second pass [default: those of the first]
    #[arg(long, value_name = "N", requires = "hires")]
    hires_steps: Option<usize>,
    /// How much the second pass may change: near 0 little, 1 nearly all; 0.3 to 0.5 is good with an upscaler
    #[arg(
        long,
        value_name = "PART",
        default_value_t = 0.7,
        requires = "hires",
        allow_negative_numbers = true
    )]
    hires_strength: f64,
    /// How the first pass is enlarged: latent, latent-nearest, lanczos, realesr-animevideov3, or an upscaler's file or name
    #[arg(long, value_name = "NAME|MODEL", default_value = "latent", requires = "hires")]
    hires_upscaler: PathBuf,
}
