//! The left side of a product: rows of activations, and what a micro-kernel reads of them.

use std::ops::Range;

/// Rows of the tallest tile of a kernel that reads rows by pointers.
pub(crate) const MAX_ROWS: usize = 8;

/// The left side of a product in memory: rows of `f32` whose terms are `segments` runs of `segment_len` values.
///
/// # Safety
/// `pointer` returns pointers valid for reads of `segment_len` values while `self` lives, for every row and segment
/// that the product has.
pub(crate) unsafe trait LhsRows: Sync {
    /// Number of runs (1 for a matrix, the taps of a convolution).
    fn segments(&self) -> usize;
    /// Values in a run.
    fn segment_len(&self) -> usize;
    /// First value of a run.
    fn pointer(&self, row: usize, segment: usize) -> *const f32;
}

/// The part of a sum that is computed at a time: the inputs `from..from + len`, all their taps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SumPart {
    pub(crate) from: usize,
    pub(crate) len: usize,
}

/// The left side as a kind of micro-kernel reads it.
///
/// # Safety
/// What `prepare` returns is valid for [`super::micro::MicroKernel::run`] with as many rows, while `source` and `buffer`
/// are neither changed nor dropped.
pub(crate) unsafe trait LeftSide: Copy + 'static {
    /// Whether the values are copied to be multiplied, once for each task.
    const IS_PACKED: bool;

    /// What a set of kernels declares about it, if they differ.
    type Layout: Sync + 'static;
    /// What a thread keeps it in.
    type Buffer: Default;

    /// Prepares a part of the sum of some rows, at least one.
    fn prepare<R: LhsRows>(
        layout: &Self::Layout,
        source: &R,
        rows: Range<usize>,
        part: SumPart,
        buffer: &mut Self::Buffer,
    ) -> Self;
}

/// Rows of `f32` where they are, a list of pointers for each piece of the sum: nothing is copied, and a convolution takes
/// the pixels of each tap from its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowPointers {
    /// `pieces` lists, `list_stride` apart: piece `p` of row `r` is at `lists[p * list_stride + r] + offset`. Each list
    /// continues for [`MAX_ROWS`] pointers after the last row, to any row that can be read.
    pub(crate) lists: *const *const f32,
    /// Distance between the lists.
    pub(crate) list_stride: usize,
    /// Values to skip at each pointer: the part of the sum, or the matrix of a stack.
    pub(crate) offset: usize,
    /// Number of pieces that the sum consists of.
    pub(crate) pieces: usize,
    /// Length of each piece.
    pub(crate) len: usize,
}

// SAFETY: each list holds a pointer for each row and more; `LhsRows` guarantees the values behind them.
unsafe impl LeftSide for RowPointers {
    const IS_PACKED: bool = false;
    type Layout = ();
    type Buffer = Vec<*const f32>;

    /// Past the end the lists repeat the last row, whose sums are then dropped.
    fn prepare<R: LhsRows>(
        (): &(),
        source: &R,
        rows: Range<usize>,
        part: SumPart,
        lists: &mut Self::Buffer,
    ) -> RowPointers {
        lists.clear();
        for segment in 0..source.segments() {
            for row in rows.start..rows.end + MAX_ROWS {
                lists.push(source.pointer(row.min(rows.end - 1), segment));
            }
        }
        RowPointers {
            lists: lists.as_ptr(),
            list_stride: rows.len() + MAX_ROWS,
            offset: part.from,
            pieces: source.segments(),
            len: part.len,
        }
    }
}

/// Rows of a contiguous matrix `[m, k]`.
pub(crate) struct MatrixRows<'a> {
    x: &'a [f32],
    k: usize,
}

impl MatrixRows<'_> {
    /// # Panics
    /// If the values are not whole rows.
    pub(crate) fn new(x: &[f32], k: usize) -> MatrixRows<'_> {
        assert_eq!(x.len() % k, 0, "{} values are not whole rows of {k}", x.len());
        MatrixRows { x, k }
    }
}

// SAFETY: `pointer` slices `x`, so it is valid for the k values of each row, or panics.
unsafe impl LhsRows for MatrixRows<'_> {
    fn segments(&self) -> usize {
        1
    }
    fn segment_len(&self) -> usize {
        self.k
    }
    #[inline]
    fn pointer(&self, row: usize, _segment: usize) -> *const f32 {
        self.x[row * self.k..][..self.k].as_ptr()
    }
}
