//! An image in tiles.

use crate::{Error, Image};
use latent_tensor::Tensor;
use std::ops::Range;

/// Pixels of the trunk around one that its part of the result depends on: two convolutions of the largest size, and one more
/// for each doubling, whose pixels are half as large.
pub(super) const REACH: usize = 2;
/// How an image is cut for the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Longest side of what a tile yields, in pixels of the trunk. 0: the whole image is one tile.
    pub side: usize,
    /// Pixels around it that the trunk sees too. They prevent seams: the trunk's 350 convolutions reach far, but distant
    /// pixels have little weight.
    pub overlap: usize,
}

impl Default for Tiling {
    /// Tiles that take about a gigabyte.
    fn default() -> Tiling {
        Tiling { side: 512, overlap: 64 }
    }
}

impl Tiling {
    /// The tiles of an image, row by row, all of about the same size.
    pub(super) fn tiles(&self, height: usize, width: usize) -> Vec<UpscalerTile> {
        let rows = self.cuts(height);
        let columns = self.cuts(width);
        // The trunk must yield what the head needs.
        let overlap = self.overlap.max(REACH);
        let tile = |rows: &Range<usize>, columns: &Range<usize>| {
            let kept = PixelRect { rows: rows.clone(), columns: columns.clone() };
            UpscalerTile { seen: kept.grown(overlap, [height, width]), kept }
        };
        rows.iter().flat_map(|rows| columns.iter().map(move |columns| tile(rows, columns))).collect()
    }

    fn cuts(&self, side: usize) -> Vec<Range<usize>> {
        // One tile is less work than two that both see most of it.
        let is_whole = self.side == 0 || side <= self.side.saturating_add(2 * self.overlap);
        let count = if is_whole { 1 } else { side.div_ceil(self.side) };
        (0..count).map(|i| i * side / count..(i + 1) * side / count).collect()
    }
}

/// What a tile yields, and what it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UpscalerTile {
    pub(super) kept: PixelRect,
    pub(super) seen: PixelRect,
}

/// A rectangle of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelRect {
    /// From the top.
    pub rows: Range<usize>,
    /// From the left.
    pub columns: Range<usize>,
}

impl PixelRect {
    /// Its pixels out of those of an image.
    ///
    /// # Panics
    /// If it is not within the image.
    #[must_use]
    pub fn cut(&self, image: &Image) -> Image {
        let PixelRect { rows, columns } = self;
        image.cropped(columns.start, rows.start, columns.len(), rows.len())
    }

    /// Whether it has pixels, all within an image of that height and width.
    pub(super) fn is_within(&self, [height, width]: [usize; 2]) -> bool {
        let is_within = |range: &Range<usize>, side| !range.is_empty() && range.end <= side;
        is_within(&self.rows, height) && is_within(&self.columns, width)
    }

    /// Whether some pixels are in both.
    pub(super) fn touches(&self, other: &PixelRect) -> bool {
        let touch = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
        touch(&self.rows, &other.rows) && touch(&self.columns, &other.columns)
    }

    /// The smallest rectangle with both.
    pub(super) fn with(&self, other: &PixelRect) -> PixelRect {
        let join = |a: &Range<usize>, b: &Range<usize>| a.start.min(b.start)..a.end.max(b.end);
        PixelRect { rows: join(&self.rows, &other.rows), columns: join(&self.columns, &other.columns) }
    }

    /// What becomes of it in an image that is `by` times as high and wide, and is cut off at that height and width.
    pub(super) fn scaled(&self, by: usize, [height, width]: [usize; 2]) -> PixelRect {
        let scale = |range: &Range<usize>, side: usize| by * range.start..side.min(by * range.end);
        PixelRect { rows: scale(&self.rows, height), columns: scale(&self.columns, width) }
    }

    pub(super) fn pixels(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// This rectangle with `by` more pixels on each side, within an image of that height and width.
    pub(super) fn grown(&self, by: usize, [height, width]: [usize; 2]) -> PixelRect {
        let grow = |range: &Range<usize>, side: usize| {
            range.start.saturating_sub(by)..range.end.saturating_add(by).min(side)
        };
        PixelRect { rows: grow(&self.rows, height), columns: grow(&self.columns, width) }
    }

    /// The same pixels, relative to a rectangle that contains them.
    pub(super) fn within(&self, other: &PixelRect) -> PixelRect {
        let shift = |range: &Range<usize>, by: usize| range.start - by..range.end - by;
        PixelRect {
            rows: shift(&self.rows, other.rows.start),
            columns: shift(&self.columns, other.columns.start),
        }
    }

    /// Bands of `count` rows of it.
    pub(super) fn bands(&self, count: usize) -> impl Iterator<Item = PixelRect> {
        let (end, columns) = (self.rows.end, self.columns.clone());
        let starts = self.rows.clone().step_by(count);
        starts.map(move |row| PixelRect { rows: row..end.min(row + count), columns: columns.clone() })
    }
}

/// A rectangle of an image `[1, height, width, channels]` in main memory.
pub(super) fn cut(x: &Tensor, part: &PixelRect) -> Result<Tensor, Error> {
    let (width, channels) = (x.dims()[2], x.dims()[3]);
    if part.rows == (0..x.dims()[1]) && part.columns == (0..width) {
        return Ok(x.clone());
    }
    let mut out = Tensor::zeros(&[1, part.rows.len(), part.columns.len(), channels])?;
    let row_values = part.columns.len() * channels;
    let from = x.f32s()?;
    for (row, to) in part.rows.clone().zip(out.f32s_mut()?.chunks_exact_mut(row_values)) {
        to.copy_from_slice(&from[(row * width + part.columns.start) * channels..][..row_values]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_each_pixel_once() {
        for (height, width) in [(1, 1), (100, 7), (1000, 333), (129, 128)] {
            for tiling in [Tiling { side: 64, overlap: 8 }, Tiling { side: 0, overlap: 3 }, Tiling::default()]
            {
                let mut times = vec![0; height * width];
                for UpscalerTile { kept, seen } in tiling.tiles(height, width) {
                    assert!(tiling.side == 0 || seen.rows.len() <= tiling.side + 2 * tiling.overlap);
                    assert!(seen.columns.end <= width && kept.pixels() > 0);
                    for row in kept.rows {
                        kept.columns.clone().for_each(|column| times[row * width + column] += 1);
                    }
                }
                assert!(times.iter().all(|times| *times == 1), "{height}x{width} {tiling:?}");
            }
        }
        assert_eq!(Tiling::default().tiles(640, 600).len(), 1);
        assert_eq!(Tiling::default().tiles(641, 1000).len(), 4);
    }
}
