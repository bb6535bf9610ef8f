//! A left side that is packed before it is multiplied, for micro-kernels whose instructions need another element than
//! `f32` (bf16, 8-bit integers) or a fixed order of the values (tile registers).
//!
//! A block of rows is cut into tiles as tall as the kernels', and a part of the sum into steps of neighbouring terms, of
//! which a tile holds whole ones. It is packed once for a part of the sum and used for all panels of a task.

use super::lhs::{LeftSide, LhsRows, SumPart};
use super::micro::Element;
use std::ops::Range;

/// How a set of kernels wants its tiles.
pub(crate) struct TileLayout<T> {
    /// Rows of a tile.
    pub(crate) rows: usize,
    /// Terms of a step. A part of a sum is padded with zeros to a multiple of it.
    pub(crate) k_step: usize,
    /// Values that hold a step of one row.
    pub(crate) step_len: usize,
    /// Packs a tile, padding included. It writes every value.
    ///
    /// # Safety
    /// - Each pointer of the source is valid for reads of `len` values.
    /// - The CPU has what the set of kernels requires.
    pub(crate) pack_lhs: unsafe fn(&TileSource<'_>, out: &mut [T]),
}

/// The rows of one tile.
#[derive(Debug)]
pub(crate) struct TileSource<'a> {
    /// `[pieces][rows]`
    pub(crate) pointers: &'a [*const f32],
    /// Rows of the tile.
    pub(crate) rows: usize,
    /// Length of each piece.
    pub(crate) len: usize,
}

/// Packed tiles of a block of rows.
#[derive(Debug)]
pub(crate) struct PackedTiles<T> {
    /// The first value of the first tile.
    pub(crate) tiles: *const T,
    /// Distance from a tile to the next: all its rows, padding included.
    pub(crate) tile_stride: usize,
    /// Terms without the padding.
    pub(crate) terms: usize,
}

impl<T> Clone for PackedTiles<T> {
    fn clone(&self) -> PackedTiles<T> {
        *self
    }
}

impl<T> Copy for PackedTiles<T> {}

/// What a thread packs tiles in.
#[derive(Debug)]
pub(crate) struct TileBuffer<T> {
    tiles: Vec<T>,
    pointers: Vec<*const f32>,
}

impl<T> Default for TileBuffer<T> {
    fn default() -> TileBuffer<T> {
        TileBuffer { tiles: Vec::new(), pointers: Vec::new() }
    }
}

impl<T: Element> PackedTiles<T> {
    /// Packs `rows` rows of `[segments, len]` values, tile by tile. `read` lists the first value of each segment of each row of a
    /// tile, `[segments][layout.rows]`, given its first row.
    ///
    /// # Safety
    /// - Until `read` is called again, what it lists is valid for reads of `len` values.
    /// - The CPU has what the set of the layout requires.
    pub(crate) unsafe fn pack(
        layout: &TileLayout<T>,
        rows: usize,
        [segments, len]: [usize; 2],
        buffer: &mut TileBuffer<T>,
        mut read: impl FnMut(usize, &mut Vec<*const f32>),
    ) -> PackedTiles<T> {
        let terms = segments * len;
        let tile_stride = terms.div_ceil(layout.k_step) * layout.step_len * layout.rows;
        let needed = rows.div_ceil(layout.rows) * tile_stride;
        if buffer.tiles.len() < needed {
            buffer.tiles.resize(needed, T::default());
        }
        for (tile, first) in buffer.tiles.chunks_exact_mut(tile_stride).zip((0..rows).step_by(layout.rows)) {
            buffer.pointers.clear();
            read(first, &mut buffer.pointers);
            assert_eq!(buffer.pointers.len(), segments * layout.rows, "pointers to the rows of a tile");
            let source = TileSource { pointers: &buffer.pointers, rows: layout.rows, len };
            // SAFETY: the caller guarantees the pointers and the CPU.
            unsafe { (layout.pack_lhs)(&source, tile) };
        }
        PackedTiles { tiles: buffer.tiles.as_ptr(), tile_stride, terms }
    }
}

// SAFETY: the buffer holds as many whole tiles as the rows need.
unsafe impl<T: Element> LeftSide for PackedTiles<T> {
    const IS_PACKED: bool = true;
    type Layout = TileLayout<T>;
    type Buffer = TileBuffer<T>;

    /// Past the end the last tile repeats the last row, whose sums are then dropped.
    fn prepare<R: LhsRows>(
        layout: &TileLayout<T>,
        source: &R,
        rows: Range<usize>,
        part: SumPart,
        buffer: &mut TileBuffer<T>,
    ) -> PackedTiles<T> {
        assert!(part.from + part.len <= source.segment_len() && !rows.is_empty(), "a part of the sum");
        let read = |first: usize, pointers: &mut Vec<*const f32>| {
            for segment in 0..source.segments() {
                for row in rows.start + first..rows.start + first + layout.rows {
                    let start = source.pointer(row.min(rows.end - 1), segment);
                    // SAFETY: the part is within the segment, for whose values `LhsRows` guarantees the pointer.
                    pointers.push(unsafe { start.add(part.from) });
                }
            }
        };
        // SAFETY: each pointer is valid for the rest of its segment, which holds the part; the set was selected for this CPU.
        unsafe { PackedTiles::pack(layout, rows.len(), [source.segments(), part.len], buffer, read) }
    }
}
