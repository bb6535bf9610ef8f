//! `VPDPBUSD`: four 8-bit products a lane, added to 32 bits, in vectors of 512 bits (AVX512-VNNI: Intel Cascade Lake, 2019;
//! AMD Zen 4, 2022) and of 256 (AVX-VNNI: Intel Alder Lake, 2021; AMD Zen 5, 2024).
//!
//! For a block of a row and a panel: eight of them, then a conversion and two instructions in `f32`, on the same ports. So at
//! most 8 of 11 cycles multiply integers.

use super::{Int8Block, PanelBlock, RowBlock};
use crate::gemm::epilogue::store_rows;
use crate::gemm::weight::PANEL;
use crate::simd::{Avx2, Avx512};
use std::arch::x86_64::*;

/// Rows of a tile of 512 bits: 12 integer and 12 `f32` sums, of 32 registers.
pub(super) const AVX512_ROWS: usize = 12;
/// Rows of a tile of 256 bits: 6 integer and 6 `f32` sums of half a panel, of 16 registers.
pub(super) const AVX_ROWS: usize = 6;
/// Lanes of 256 bits.
const HALF: usize = PANEL / 2;

/// # Safety
/// As for [`crate::gemm::micro::MicroKernel::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn avx512(block: &Int8Block) {
    for row in (0..block.row_count).step_by(AVX512_ROWS) {
        // SAFETY: `row` is the first of a tile.
        unsafe {
            match block.row_count - row {
                1 => avx512_tile::<1>(block, row),
                2..=4 => avx512_tile::<4>(block, row),
                5..=8 => avx512_tile::<8>(block, row),
                _ => avx512_tile::<AVX512_ROWS>(block, row),
            }
        }
    }
}

/// The first `R` rows of the tile that begins at `row`.
///
/// # Safety
/// As for [`avx512`]; `row` is the first of a tile.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn avx512_tile<const R: usize>(block: &Int8Block, row: usize) {
    let steps = block.lhs.tile_stride / AVX512_ROWS;
    let mut sums = [_mm512_setzero_ps(); R];
    // SAFETY: the tile has twelve rows of as many blocks as the panel; blocks of a panel are aligned.
    unsafe {
        let tile = block.lhs.tiles.add(row / AVX512_ROWS * block.lhs.tile_stride);
        for step in 0..steps {
            let PanelBlock { scales, values } = &*block.panel.add(step);
            let rows: [&RowBlock; R] = std::array::from_fn(|r| &*tile.add(r * steps + step));
            let mut integers: [_; R] = std::array::from_fn(|r| _mm512_set1_epi32(rows[r].start));
            for (group, b) in values.iter().enumerate() {
                let b = _mm512_load_si512(b.as_ptr().cast());
                for r in 0..R {
                    let a = rows[r].values.as_ptr().cast::<i32>().add(group).read_unaligned();
                    integers[r] = _mm512_dpbusd_epi32(integers[r], b, _mm512_set1_epi32(a));
                }
            }
            let scales = _mm512_load_ps(scales.as_ptr());
            for r in 0..R {
                let scale = _mm512_mul_ps(_mm512_set1_ps(rows[r].scale), scales);
                sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(integers[r]), scale, sums[r]);
            }
        }
        let mut values = [[0f32; PANEL]; R];
        for (values, sums) in values.iter_mut().zip(&sums) {
            _mm512_storeu_ps(values.as_mut_ptr(), *sums);
        }
        store_rows(Avx512::assume(), block, row, values.as_flattened(), PANEL);
    }
}

/// # Safety
/// As for [`crate::gemm::micro::MicroKernel::run`].
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn avx(block: &Int8Block) {
    for row in (0..block.row_count).step_by(AVX_ROWS) {
        // SAFETY: `row` is the first of a tile.
        unsafe {
            let mut values = [[0f32; PANEL]; AVX_ROWS];
            avx_half(block, row, 0, &mut values);
            avx_half(block, row, HALF, &mut values);
            store_rows(Avx2::assume(), block, row, values.as_flattened(), PANEL);
        }
    }
}

/// The outputs from `first` on, half of the panel's.
///
/// # Safety
/// As for [`avx`]; `row` is the first of a tile, `first` 0 or [`HALF`].
#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn avx_half(block: &Int8Block, row: usize, first: usize, out: &mut [[f32; PANEL]; AVX_ROWS]) {
    let steps = block.lhs.tile_stride / AVX_ROWS;
    let mut sums = [_mm256_setzero_ps(); AVX_ROWS];
    // SAFETY: the tile has six rows of as many blocks as the panel; blocks of a panel are aligned, and so are their halves.
    unsafe {
        let tile = block.lhs.tiles.add(row / AVX_ROWS * block.lhs.tile_stride);
        for step in 0..steps {
            let PanelBlock { scales, values } = &*block.panel.add(step);
            let rows: [&RowBlock; AVX_ROWS] = std::array::from_fn(|r| &*tile.add(r * steps + step));
            let mut integers: [_; AVX_ROWS] = std::array::from_fn(|r| _mm256_set1_epi32(rows[r].start));
            for (group, b) in values.iter().enumerate() {
                let b = _mm256_load_si256(b[first..].as_ptr().cast());
                for r in 0..AVX_ROWS {
                    let a = rows[r].values.as_ptr().cast::<i32>().add(group).read_unaligned();
                    integers[r] = _mm256_dpbusd_avx_epi32(integers[r], b, _mm256_set1_epi32(a));
                }
            }
            let scales = _mm256_load_ps(scales[first..].as_ptr());
            for r in 0..AVX_ROWS {
                let scale = _mm256_mul_ps(_mm256_set1_ps(rows[r].scale), scales);
                sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(integers[r]), scale, sums[r]);
            }
        }
        for (out, sums) in out.iter_mut().zip(&sums) {
            _mm256_storeu_ps(out[first..].as_mut_ptr(), *sums);
        }
    }
}
