//! A convolution of some rows of a picture, of which only some rows need be in memory.

use super::winograd;
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
