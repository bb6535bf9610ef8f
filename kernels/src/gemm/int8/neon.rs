//! Arm's `SDOT`: four 8-bit products in each of four lanes, added to 32 bits (`FEAT_DotProd`: Cortex-A76 and Neoverse N1, 2018;
//! Apple A13, 2019).
//!
//! The instruction is written as assembly because its intrinsic is not stable.

use super::{Int8Block, OFFSET, PanelBlock, RowBlock};
use crate::gemm::epilogue::store_rows;
use crate::gemm::weight::PANEL;
use crate::simd::Neon;
use std::arch::aarch64::*;

/// Rows of a tile: 12 integer and 12 `f32` vectors of half a panel, of 32 registers.
pub(super) const ROWS: usize = 6;
/// Outputs of half a panel.
const HALF: usize = PANEL / 2;
/// Vectors of half a panel.
const VECTORS: usize = HALF / 4;

/// The sum and four signed products in each lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction is one of the features, and changes only `sum`.
    unsafe {
        std::arch::asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
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
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn compute(block: &Int8Block) {
    for row in (0..block.row_count).step_by(ROWS) {
        let mut values = [[0f32; PANEL]; ROWS];
        // SAFETY: `row` is the first of a tile.
        unsafe {
            half(block, row, 0, &mut values);
            half(block, row, HALF, &mut values);
            store_rows(Neon::assume(), block, row, values.as_flattened(), PANEL);
        }
    }
}

/// The outputs from `first` on, half of the panel's. Weights become signed when they are loaded, so that sums start at 0.
///
/// # Safety
/// As for [`compute`]; `row` is the first of a tile, `first` 0 or [`HALF`].
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn half(block: &Int8Block, row: usize, first: usize, out: &mut [[f32; PANEL]; ROWS]) {
    let steps = block.lhs.tile_stride / ROWS;
    let mut sums = [[vdupq_n_f32(0.0); VECTORS]; ROWS];
    // SAFETY: the tile has six rows of as many blocks as the panel.
    unsafe {
        let tile = block.lhs.tiles.add(row / ROWS * block.lhs.tile_stride);
        for step in 0..steps {
            let PanelBlock { scales, values } = &*block.panel.add(step);
            let rows: [&RowBlock; ROWS] = std::array::from_fn(|r| &*tile.add(r * steps + step));
            let mut integers = [[vdupq_n_s32(0); VECTORS]; ROWS];
            for (group, values) in values.iter().enumerate() {
                let values = values[first..].as_flattened().as_ptr();
                let b: [_; VECTORS] = std::array::from_fn(|v| {
                    let unsigned = vld1q_u8(values.add(16 * v));
                    vreinterpretq_s8_u8(veorq_u8(unsigned, vdupq_n_u8(OFFSET as u8)))
                });
                for (row, integers) in rows.iter().zip(&mut integers) {
                    let four = row.values.as_ptr().cast::<i32>().add(group).read_unaligned();
                    let a = vreinterpretq_s8_s32(vdupq_n_s32(four));
                    for (sum, b) in integers.iter_mut().zip(b) {
                        *sum = dot(*sum, a, b);
                    }
                }
            }
            for r in 0..ROWS {
                for v in 0..VECTORS {
                    let scales = vld1q_f32(scales[first + 4 * v..].as_ptr());
                    let scale = vmulq_n_f32(scales, rows[r].scale);
                    sums[r][v] = vfmaq_f32(sums[r][v], vcvtq_f32_s32(integers[r][v]), scale);
                }
            }
        }
        for (out, sums) in out.iter_mut().zip(&sums) {
            for (v, sum) in sums.iter().enumerate() {
                vst1q_f32(out[first + 4 * v..].as_mut_ptr(), *sum);
            }
        }
    }
}
