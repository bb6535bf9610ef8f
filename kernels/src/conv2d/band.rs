//! A convolution that computes some rows of its output, from an input of which only some rows are in memory.

use super::winograd;
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
