//! Blocks to the panels that a product reads ([`crate::gemm`]).

use super::{BLOCK, BLOCK_BYTES};
use crate::gemm::PANEL;
use crate::simd::{Simd, prefetch};
use std::ops::Range;

/// How many blocks ahead of a row's own are asked for: two cache lines.
const AHEAD: usize = 4;

/// Stands for the rows that there are not: its values are zero.
static NOTHING: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Widens some columns of up to sixteen rows: the sixteen values of each column go to `out`, from the place that
/// `next_place` gives on. Rows that there are not are zero.
///
/// Blocks are widened whole. Where the columns begin or end within one, those beside them go to a place that is not read.
///
/// # Panics
/// If there are more rows, a row is too short, or a place lies outside `out`.
#[inline(always)]
pub(crate) fn widen_panel<S: Simd>(
    s: S,
    rows: &[&[u8]],
    columns: Range<usize>,
    mut next_place: impl FnMut() -> usize,
    out: &mut [f32],
) {
    let blocks = columns.start / BLOCK..columns.end.div_ceil(BLOCK);
    let long_enough = |row: &&[u8]| row.len() >= blocks.end * BLOCK_BYTES;
    assert!(rows.len() <= PANEL && rows.iter().all(long_enough), "rows of {} blocks", blocks.end);
    let (len, out) = (out.len(), out.as_mut_ptr());
    let mut beside = [0f32; PANEL];
    let beside = beside.as_mut_ptr();
    for block in blocks {
        let mut from = [NOTHING.as_ptr(); PANEL];
        for (from, row) in from.iter_mut().zip(rows) {
            *from = row[block * BLOCK_BYTES..].as_ptr();
            prefetch(from.wrapping_add(AHEAD * BLOCK_BYTES).cast(), 1);
        }
        let mut to = [beside; BLOCK];
        for (column, to) in (block * BLOCK..).zip(&mut to) {
            if columns.contains(&column) {
                let place = next_place();
                assert!(place + PANEL <= len, "a place in the panel");
                // SAFETY: sixteen values from there on lie in `out`.
                *to = unsafe { out.add(place) };
            }
        }
        // SAFETY: a whole block of each row; sixteen values at each place, in `out` or in `beside`.
        unsafe { s.widen_q8_0(&from, &to) };
    }
}
