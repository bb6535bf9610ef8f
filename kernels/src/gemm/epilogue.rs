//! What happens to the sums of a tile, for kernels that leave them in a buffer.

use super::lhs::LeftSide;
use super::micro::{Element, ProductBlock};
use crate::simd::Simd;

/// Adds to the sums of some rows, `width` apart, what the output holds, the bias and the residual, in this order, and writes
/// them to the rows of the output from `row` on. Rows past the block's last and columns past its last are dropped.
///
/// # Safety
/// - As for [`super::micro::MicroKernel::run`]; `row` is a row of the block.
/// - The block has at most `width` columns, and `width` is whole vectors.
#[inline(always)]
pub(super) unsafe fn store_rows<S: Simd, Lhs: LeftSide, Rhs: Element>(
    s: S,
    block: &ProductBlock<Lhs, Rhs, f32>,
    row: usize,
    sums: &[f32],
    width: usize,
) {
    assert!(block.columns <= width && width.is_multiple_of(S::LANES));
    let whole = block.columns / S::LANES * S::LANES;
    for (row, sums) in (row..block.row_count).zip(sums.chunks_exact(width)) {
        let at = row * block.c_stride;
        // SAFETY: the row and its columns are in the output, the bias and the residual, unless those are null.
        unsafe {
            let c = block.c.add(at);
            for column in (0..whole).step_by(S::LANES) {
                let mut value = s.load(&sums[column..]);
                if block.accumulate {
                    value = s.add(value, s.load_ptr(c.add(column)));
                }
                if !block.bias.is_null() {
                    value = s.add(value, s.load_ptr(block.bias.add(column)));
                }
                if !block.residual.is_null() {
                    value = s.add(value, s.load_ptr(block.residual.add(at + column)));
                }
                s.store_ptr(c.add(column), value);
            }
            for (column, sum) in sums.iter().enumerate().take(block.columns).skip(whole) {
                let mut value = *sum;
                if block.accumulate {
                    value += *c.add(column);
                }
                if !block.bias.is_null() {
                    value += *block.bias.add(column);
                }
                if !block.residual.is_null() {
                    value += *block.residual.add(at + column);
                }
                *c.add(column) = value;
            }
        }
    }
}
