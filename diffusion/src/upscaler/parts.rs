//! Parts of an enlargement, which may be computed beside each other: each tile depends on the pixels that it sees alone.

use super::head::head_scale;
use super::tiles::{PixelRect, Tiling, UpscalerTile};
use super::{RGB, UpscalerConfig};
use crate::{Error, Image, Setting};

/// A part of an enlarged image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpscaledPart {
    /// Width and height of the whole image before it is enlarged.
    pub size: (usize, usize),
    /// What is wanted of it when it is enlarged.
    pub wanted: PixelRect,
}

/// How a part is computed.
pub(super) struct PartTiles {
    /// The pixels of the image that it depends on.
    pub(super) seen: PixelRect,
    /// The tiles that yield it, relative to these, in pixels of the trunk.
    pub(super) tiles: Vec<UpscalerTile>,
}

impl PixelRect {
    /// Refuses an image of another size.
    pub(super) fn expect_size_of(&self, image: &Image) -> Result<(), Error> {
        let (width, height) = (self.columns.len(), self.rows.len());
        if (image.width, image.height) == (width, height) && image.rgb.len() == RGB * width * height {
            return Ok(());
        }
        let (given, count) = (format!("{}x{}", image.width, image.height), image.rgb.len());
        let reason = format!("{given} pixels with {count} values are not the {width}x{height} that are seen");
        Err(Error::setting(Setting::Image, reason))
    }
}

impl UpscalerConfig {
    /// All of an enlarged image. `size` is its width and height before.
    pub(super) fn whole(&self, size: (usize, usize)) -> UpscaledPart {
        let [height, width] = [size.1, size.0].map(|side| side * self.scale());
        UpscaledPart { size, wanted: PixelRect { rows: 0..height, columns: 0..width } }
    }

    /// What the tiles of an image of that width and height yield of the enlarged image, row by row.
    ///
    /// # Errors
    /// A result of more than [`super::MAX_PIXELS`].
    pub fn yields(&self, size: (usize, usize), tiling: Tiling) -> Result<Vec<PixelRect>, Error> {
        let (width, height) = self.large_size(size)?;
        let tiles = self.tiles(tiling, self.trunk_size(size)).into_iter();
        Ok(tiles.map(|tile| tile.kept.scaled(head_scale(self), [height, width])).collect())
    }

    /// The pixels of the image that a part of the enlarged one depends on.
    ///
    /// # Errors
    /// A part that has no pixels or is not within the enlarged image, a result of more than [`super::MAX_PIXELS`].
    pub fn seen(&self, part: &UpscaledPart, tiling: Tiling) -> Result<PixelRect, Error> {
        self.part_tiles(part, tiling).map(|tiles| tiles.seen)
    }

    /// The tiles that yield a part.
    pub(super) fn part_tiles(&self, part: &UpscaledPart, tiling: Tiling) -> Result<PartTiles, Error> {
        let UpscaledPart { size, wanted } = part;
        let (width, height) = self.large_size(*size)?;
        let touches =
            |tile: &UpscalerTile| tile.kept.scaled(head_scale(self), [height, width]).touches(wanted);
        let mut tiles = self.tiles(tiling, self.trunk_size(*size));
        tiles.retain(touches);
        let all = tiles.iter().map(|tile| tile.seen.clone()).reduce(|a, b| a.with(&b));
        let Some(all) = all.filter(|_| wanted.is_within([height, width])) else {
            let reason = format!("{wanted:?} is not a part of the {width}x{height} pixels that it becomes");
            return Err(Error::setting(Setting::Image, reason));
        };
        for tile in &mut tiles {
            *tile = UpscalerTile { kept: tile.kept.within(&all), seen: tile.seen.within(&all) };
        }
        Ok(PartTiles { seen: all.scaled(self.unshuffle(), [size.1, size.0]), tiles })
    }

    /// Height and width of what the trunk sees of an image of that width and height.
    fn trunk_size(&self, (width, height): (usize, usize)) -> [usize; 2] {
        [height, width].map(|side| side.div_ceil(self.unshuffle()))
    }
}
