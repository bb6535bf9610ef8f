//! Flags of SDXL and its refiner.

use latent_app::job::{PixelOffset, PixelSize};
use std::path::PathBuf;

/// Sizes that condition SDXL, and the model that finishes its images.
#[derive(clap::Args)]
#[command(next_help_heading = "SDXL")]
pub(crate) struct SdxlArgs {
    /// Size that the image is to look scaled from; small ones look blurred [default: the drawn size]
    #[arg(long, value_name = "WxH")]
    original_size: Option<PixelSize>,
    /// Where the image is to look cropped, from the left and from the top
    #[arg(long, value_name = "X,Y", default_value = "0,0")]
    crop: PixelOffset,
    /// Size that the image is to be composed for [default: the drawn size]
    #[arg(long, value_name = "WxH")]
    target_size: Option<PixelSize>,
    /// Model that finishes the images, such as SDXL's refiner: a file, a folder or a name, as --model takes
    #[arg(long, value_name = "FILE")]
    refiner: Option<PathBuf>,
    /// Part of the way, 0 to 1, after which the refiner takes over
    #[arg(long, value_name = "PART", default_value_t = 0.8, requires = "refiner")]
    refiner_start: f64,
}
