//! Images that a person gives: read from a file, and brought to a size.

mod decode;
mod read;
mod resize;
#[cfg(test)]
mod tests;

pub(crate) use decode::Given;
pub(crate) use read::read;
pub(crate) use resize::{Resize, mask_to, resized, to_size};

use crate::error::CliError;
use latent_diffusion::families::Model;
use latent_diffusion::{Image, Settings};
use resize::size_for;
use std::path::Path;

/// What shows through where an image is transparent.
pub(crate) const GROUND: u8 = 255;

/// Reads an image and brings it to the size to draw, which the settings then name.
pub(crate) fn drawn(
    path: &Path,
    mode: Resize,
    settings: &mut Settings,
    model: &Model,
) -> Result<Image, CliError> {
    let image = read(path)?.over(GROUND);
    let (width, height) = size_for(&image, (settings.width, settings.height), model);
    (settings.width, settings.height) = (Some(width), Some(height));
    // A size that the model cannot draw is refused before the image is brought to it.
    settings.size(model)?;
    Ok(to_size(&image, (width, height), mode))
}
