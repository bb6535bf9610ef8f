//! Arm's `BFDOT`: two multiply-adds in each of four lanes (`FEAT_BF16`: Neoverse V1 and N2, 2021; Apple M2, 2022).
//!
//! The instruction is written as assembly because its intrinsic is not stable.

use super::Bf16Block;
use crate::gemm::epilogue::store_rows;
use crate::gemm::weight::PANEL;
use crate::simd::Neon;
use std::arch::aarch64::*;

/// Rows of a tile: 6 x 4 sums and 4 vectors of the panel, of 32 registers.
pub(super) const ROWS: usize = 6;
/// Vectors of a line.
const VECTORS: usize = PANEL / 4;

/// `sum + (a0 b0 + a1 b1)` in each lane. Each addition is rounded to odd, and denormals are flushed, whatever FPCR says.
#[inline]
#[target_feature(enable = "neon,bf16")]
fn dot(sum: float32x4_t, a: uint32x4_t, b: uint32x4_t) -> float32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction is one of the features, and changes only `sum`.
    unsafe {
        std::arch::asm!(
            "bfdot {sum:v}.4s, {a:v}.8h, {b:v}.8h",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// # Safety
/// As for [`crate::gemm::micro::MicroKernel::run`].
#[target_feature(enable = "neon,bf16")]
pub(super) unsafe fn compute(block: &Bf16Block) {
    let stride = block.lhs.tile_stride / ROWS;
    for row in (0..block.row_count).step_by(ROWS) {
        let mut sums = [[vdupq_n_f32(0.0); VECTORS]; ROWS];
        // SAFETY: the tile of the row has six rows of as many pairs as the panel has lines.
        unsafe {
            let tile = block.lhs.tiles.add(row / ROWS * block.lhs.tile_stride);
            let rows: [*const u32; ROWS] = std::array::from_fn(|r| tile.add(r * stride).cast());
            for pair in 0..block.lhs.terms.div_ceil(2) {
                let line = block.panel.add(pair).cast::<u32>();
                let b: [_; VECTORS] = std::array::from_fn(|v| vld1q_u32(line.add(4 * v)));
                for (row, sums) in rows.iter().zip(&mut sums) {
                    let a = vld1q_dup_u32(row.add(pair));
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = dot(*sum, a, b);
                    }
                }
            }
            let mut values = [[0f32; PANEL]; ROWS];
            for (values, sums) in values.iter_mut().zip(&sums) {
                for (v, sum) in sums.iter().enumerate() {
                    vst1q_f32(values[4 * v..].as_mut_ptr(), *sum);
                }
            }
            store_rows(Neon::assume(), block, row, values.as_flattened(), PANEL);
        }
    }
}
