//! A convolution that computes some rows of its output, from an input of which only some rows are in memory.

use super::{ConvWeight, winograd};
use std::ops::Range;

/// Bands of an output begin at a multiple of this many rows, and end at one or with the output: the tiles of Winograd's
/// algorithm are then those of the whole output, and the values too, bit for bit.
pub const BAND_UNIT: usize = winograd::OUT;

/// Neighbouring rows of an input or output: `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// The first.
    pub start: usize,
    /// One past the last.
    pub end: usize,
}

impl RowRange {
    /// Number of rows.
    #[must_use]
    pub fn count(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub fn contains(self, other: RowRange) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether they are a band of an output of `height` rows, on the grid of [`BAND_UNIT`].
    #[must_use]
    pub fn is_band_of(self, height: usize) -> bool {
        let is_cut = |row: usize| row.is_multiple_of(BAND_UNIT) || row == height;
        self.start < self.end && self.end <= height && is_cut(self.start) && is_cut(self.end)
    }
}

impl From<Range<usize>> for RowRange {
    fn from(rows: Range<usize>) -> RowRange {
        RowRange { start: rows.start, end: rows.end }
    }
}

/// The part of its input that a convolution is given, and the part of its output that it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// Rows of each image that are in memory, before they are resized.
    pub held: RowRange,
    /// Rows of the output.
    pub wanted: RowRange,
}

impl ConvWeight {
    /// The rows of an input that some rows of the output depend on. The input has `height` rows and is resized to `to_height`
    /// before it is convolved.
    ///
    /// # Panics
    /// If no row is wanted, or the input has none.
    #[must_use]
    pub fn rows_read(&self, [height, to_height]: [usize; 2], wanted: RowRange) -> RowRange {
        assert!(
            wanted.count() > 0 && height > 0 && to_height > 0,
            "{wanted:?} of {height} and {to_height} rows"
        );
        let top = self.padding.top;
        // A band may depend on the padding alone; the result still has a row.
        let start = (wanted.start * self.stride).saturating_sub(top).min(to_height - 1);
        let end =
            ((wanted.end - 1) * self.stride + self.kernel).saturating_sub(top).clamp(start + 1, to_height);
        RowRange { start: start * height / to_height, end: (end - 1) * height / to_height + 1 }
    }

    /// # Panics
    /// If a band is not one of an output of `out_height` rows, or needs rows that are not held.
    pub(super) fn assert_band(&self, heights: [usize; 2], out_height: usize, Band { held, wanted }: Band) {
        assert!(held.end <= heights[0], "{held:?} is held of {} rows", heights[0]);
        assert!(wanted.is_band_of(out_height), "{wanted:?} is not a band of {out_height} rows");
        let read = self.rows_read(heights, wanted);
        assert!(held.contains(read), "{wanted:?} depends on {read:?}, but {held:?} is held");
    }
}
