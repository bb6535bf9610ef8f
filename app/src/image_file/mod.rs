//! Images that a person gives: read from a file, and brought to a size.

mod decode;
mod read;
mod resize;
#[cfg(test)]
mod tests;

pub use decode::{InputImage, MAX_FILE_BYTES, MAX_PIXELS, decode};
pub use read::{decode_bytes, read, size};
pub use resize::{Resize, mask_to, resized, to_size};

use crate::AppError;
use latent_diffusion::families::Model;
use latent_diffusion::{Image, Settings};
pub(crate) use resize::size_for;

/// Grey level of the background that is seen where an image is transparent: white.
pub const BACKGROUND: u8 = 255;

/// An image in the size to draw, which the settings then hold.
///
/// # Errors
/// A size that the model cannot draw.
pub fn to_drawn_size(
    image: &Image,
    mode: Resize,
    settings: &mut Settings,
    model: &Model,
) -> Result<Image, AppError> {
    let (width, height) = size_for(image, (settings.width, settings.height), model);
    (settings.width, settings.height) = (Some(width), Some(height));
    // A size that the model cannot draw is refused before the image is brought to it.
    settings.size(model)?;
    Ok(to_size(image, (width, height), mode))
}
