//! AVX512-BF16: `VDPBF16PS`, 16 lanes of two multiply-adds (Intel Cooper Lake, 2020, and Sapphire Rapids, 2023; AMD Zen 4,
//! 2022).

use super::{Bf16Block, Bf16Line};
use crate::gemm::epilogue::store_rows;
use crate::gemm::weight::PANEL;
use crate::simd::Avx512;
use std::arch::x86_64::*;

/// Rows of a tile: 8 x 2 sums, and 10 loads for 16 instructions.
pub(super) const ROWS: usize = 8;
/// Rows of the tile for the last ones.
const SHORT: usize = 4;

/// # Safety
/// As for [`crate::gemm::micro::MicroKernel::run`], with `PANELS` panels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn compute<const PANELS: usize>(block: &Bf16Block) {
    for row in (0..block.row_count).step_by(ROWS) {
        // SAFETY: `row` is the first of a tile.
        unsafe {
            if block.row_count - row <= SHORT {
                tile::<SHORT, PANELS>(block, row);
            } else {
                tile::<ROWS, PANELS>(block, row);
            }
        }
    }
}

/// The first `R` rows of the tile that begins at `row`.
///
/// # Safety
/// As for [`compute`]; `row` is the first of a tile.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn tile<const R: usize, const PANELS: usize>(block: &Bf16Block, row: usize) {
    let mut sums = [[_mm512_setzero_ps(); PANELS]; R];
    let stride = block.lhs.tile_stride / ROWS;
    // SAFETY: the tile has eight rows of as many pairs as each panel has lines.
    unsafe {
        let tile = block.lhs.tiles.add(row / ROWS * block.lhs.tile_stride);
        let rows: [*const i32; R] = std::array::from_fn(|r| tile.add(r * stride).cast());
        for pair in 0..block.lhs.terms.div_ceil(2) {
            let b: [__m512bh; PANELS] =
                std::array::from_fn(|v| load_line(block.panel.add(v * block.panel_stride + pair)));
            for r in 0..R {
                let a: __m512bh = std::mem::transmute(_mm512_set1_epi32(*rows[r].add(pair)));
                for v in 0..PANELS {
                    sums[r][v] = _mm512_dpbf16_ps(sums[r][v], a, b[v]);
                }
            }
        }
        let mut values = [[[0f32; PANEL]; PANELS]; R];
        for (values, sums) in values.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            _mm512_storeu_ps(values.as_mut_ptr(), *sums);
        }
        store_rows(Avx512::assume(), block, row, values.as_flattened().as_flattened(), PANELS * PANEL);
    }
}

/// # Safety
/// - `line` is valid for reads.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load_line(line: *const Bf16Line) -> __m512bh {
    // SAFETY: the caller's; a line is aligned. Both types are 512 bits.
    unsafe { std::mem::transmute(_mm512_load_si512(line.cast())) }
}
