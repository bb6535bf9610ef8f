//! An image in tiles.

use super::head::REACH;
use crate::Error;
use latent_tensor::Tensor;
use std::ops::Range;

/// How an image is cut for the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Largest side of what a tile gives, in pixels of the trunk. 0: all of the image is one tile.
    pub side: usize,
    /// Pixels around it that the trunk sees too. They are what keeps seams away: the trunk's 350 convolutions see far, but what
    /// is far counts little.
    pub overlap: usize,
}

impl Default for Tiling {
    /// Tiles that take about a gigabyte.
    fn default() -> Tiling {
        Tiling { side: 512, overlap: 64 }
    }
}

impl Tiling {
    /// The tiles of an image, row by row. Those that are beside each other are of about one size.
    pub(super) fn tiles(&self, height: usize, width: usize) -> Vec<Tile> {
        let rows = self.cuts(height);
        let columns = self.cuts(width);
        // What the head needs, the trunk must give.
        let overlap = self.overlap.max(REACH);
        let tile = |rows: &Range<usize>, columns: &Range<usize>| {
            let kept = Part { rows: rows.clone(), columns: columns.clone() };
            Tile { seen: kept.grown(overlap, [height, width]), kept }
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

/// What a tile gives, and what it is given to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) kept: Part,
    pub(super) seen: Part,
}

/// A part of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Part {
    pub(super) fn pixels(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// With so many pixels around it, as far as the image of that height and width goes.
    pub(super) fn grown(&self, by: usize, [height, width]: [usize; 2]) -> Part {
        let grow = |range: &Range<usize>, side: usize| {
            range.start.saturating_sub(by)..range.end.saturating_add(by).min(side)
        };
        Part { rows: grow(&self.rows, height), columns: grow(&self.columns, width) }
    }

    /// The same part of the image, as a part of another part that holds it.
    pub(super) fn within(&self, other: &Part) -> Part {
        let shift = |range: &Range<usize>, by: usize| range.start - by..range.end - by;
        Part { rows: shift(&self.rows, other.rows.start), columns: shift(&self.columns, other.columns.start) }
    }

    /// So many rows of it at a time.
    pub(super) fn bands(&self, count: usize) -> impl Iterator<Item = Part> {
        let (end, columns) = (self.rows.end, self.columns.clone());
        let starts = self.rows.clone().step_by(count);
        starts.map(move |row| Part { rows: row..end.min(row + count), columns: columns.clone() })
    }
}

/// A part of an image `[1, height, width, channels]` in main memory.
pub(super) fn cut(x: &Tensor, part: &Part) -> Result<Tensor, Error> {
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
                for Tile { kept, seen } in tiling.tiles(height, width) {
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
