//! The image that the parts of a job become.

use super::cells::GridCells;
use super::tiles::EnlargedTiles;
use crate::error::ApiError;
use latent_app::metadata::OutputTexts;
use latent_diffusion::Image;

/// Parts of one image, as far as they came.
#[derive(Debug)]
pub(super) enum WholeImage {
    /// The cells of a grid.
    Grid(Box<GridCells>),
    /// The tiles of an image that is made larger.
    Enlarged(Box<EnlargedTiles>),
}

/// An image from its parts.
#[derive(Debug)]
pub(super) struct ComposedImage {
    pub(super) image: Image,
    /// What its file says, by keyword.
    pub(super) texts: OutputTexts,
    /// The seed that its name has.
    pub(super) seed: Option<u64>,
}

impl WholeImage {
    /// Notes the file of a part, with its seed.
    pub(super) fn set(&mut self, index: usize, file: Vec<u8>, seed: u64) {
        match self {
            WholeImage::Grid(cells) => cells.set(index, Ok((file, seed))),
            WholeImage::Enlarged(tiles) => tiles.set(index, file),
        }
    }

    /// The image, once all parts came.
    ///
    /// # Errors
    /// A part that is missing or cannot be read.
    pub(super) fn compose(self) -> Result<ComposedImage, ApiError> {
        match self {
            WholeImage::Grid(cells) => {
                let drawn = cells.compose()?;
                Ok(ComposedImage { image: drawn.image, texts: drawn.texts, seed: Some(drawn.seed) })
            }
            WholeImage::Enlarged(tiles) => {
                let (image, texts) = tiles.compose()?;
                Ok(ComposedImage { image, texts, seed: None })
            }
        }
    }
}
