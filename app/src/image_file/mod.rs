//! Images that a person gives: read from a file, and brought to a size.

mod decode;
mod read;
mod resize;
#[cfg(test)]
mod tests;

pub use decode::{InputImage, MAX_FILE_BYTES, MAX_PIXELS, decode};
pub use read::read;
pub use resize::{Resize, mask_to, resized, to_size};

use crate::AppError;
use latent_diffusion::families::Model;
use latent_diffusion::{Image, Settings};
use resize::size_for;
use std::path::Path;

/// Grey level of the background that is seen where an image is transparent: white.
pub const BACKGROUND: u8 = 255;

/// Reads an image and brings it to the size to draw: that of the settings, or one of the image's shape with about as many
/// pixels as the model was trained on. The settings then have this size.
///
/// # Errors
/// As [`read`], and a size that the model cannot draw.
pub fn read_sized(
    path: &Path,
    mode: Resize,
    settings: &mut Settings,
    model: &Model,
) -> Result<Image, AppError> {
    let image = read(path)?.over(BACKGROUND);
    let (width, height) = size_for(&image, (settings.width, settings.height), model);
    (settings.width, settings.height) = (Some(width), Some(height));
    // A size that the model cannot draw is refused before the image is brought to it.
    settings.size(model)?;
    Ok(to_size(&image, (width, height), mode))
}
