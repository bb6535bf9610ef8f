//! A convolution of some rows of a picture, of which only some rows need be in memory.

use super::{ConvWeight, winograd};
use std::ops::Range;

/// Bands of an output begin at a multiple of so many rows, and end at one or with the picture: so the tiles of Winograd's
/// algorithm are those of the whole picture, and the values too, bit for bit.
pub const BAND_UNIT: usize = winograd::OUT;

/// Neighbouring rows of a picture: `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The first.
    pub start: usize,
    /// The first that is none of them.
    pub end: usize,
}

impl Rows {
    /// How many.
    #[must_use]
    pub fn count(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub fn contain(self, other: Rows) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether they are a band of an output of `height` rows, on the grid of [`BAND_UNIT`].
    #[must_use]
    pub fn are_band_of(self, height: usize) -> bool {
        let is_cut = |row: usize| row.is_multiple_of(BAND_UNIT) || row == height;
        self.start < self.end && self.end <= height && is_cut(self.start) && is_cut(self.end)
    }
}

impl From<Range<usize>> for Rows {
    fn from(rows: Range<usize>) -> Rows {
        Rows { start: rows.start, end: rows.end }
    }
}

/// What a convolution is given of its input, and what it computes of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// Rows of each picture that are in memory, before they are resized.
    pub held: Rows,
    /// Rows of the output.
    pub wanted: Rows,
}

impl ConvWeight {
    /// The rows of a picture that some rows of the output follow from. The picture has `height` rows and is resized to
    /// `to_height` before it is convolved.
    ///
    /// # Panics
    /// If no row is wanted, or the picture has none.
    #[must_use]
    pub fn rows_read(&self, [height, to_height]: [usize; 2], wanted: Rows) -> Rows {
        assert!(
            wanted.count() > 0 && height > 0 && to_height > 0,
            "{wanted:?} of {height} and {to_height} rows"
        );
        let top = self.padding.top;
        // A band may lie in the padding alone; it still names a row.
        let start = (wanted.start * self.stride).saturating_sub(top).min(to_height - 1);
        let end =
            ((wanted.end - 1) * self.stride + self.kernel).saturating_sub(top).clamp(start + 1, to_height);
        Rows { start: start * height / to_height, end: (end - 1) * height / to_height + 1 }
    }

    /// # Panics
    /// If a band is not one of an output of `out_height` rows, or needs rows that are not held.
    pub(super) fn assert_band(&self, heights: [usize; 2], out_height: usize, Band { held, wanted }: Band) {
        assert!(held.end <= heights[0], "{held:?} are held of {} rows", heights[0]);
        assert!(wanted.are_band_of(out_height), "{wanted:?} are no band of {out_height} rows");
        let read = self.rows_read(heights, wanted);
        assert!(held.contain(read), "{wanted:?} follow from {read:?}, and {held:?} are held");
    }
}
