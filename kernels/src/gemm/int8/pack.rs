//! Quantizing of rows and weights.

use super::{BLOCK, GROUP, MAX_BYTE, OFFSET, PanelBlock, RowBlock};
use crate::DType;
use crate::gemm::lhs::SumPart;
use crate::gemm::packed::TileSource;
use crate::gemm::weight::{PANEL, WeightMatrix};
#[cfg(target_arch = "x86_64")]
use crate::simd::Avx512;
use crate::simd::{Avx2, Isa, ROUND, Scalar, Simd, SimdOp};
use latent_dtype::block::{BlockFormat, Q8_0};
use std::cell::RefCell;

/// # Safety
/// As [`crate::gemm::packed::TileLayout::pack_lhs`].
pub(super) unsafe fn scalar(source: &TileSource<'_>, out: &mut [RowBlock]) {
    // SAFETY: the caller's promises.
    unsafe { QuantizeRows::new(source, out).run(Scalar) }
}

/// # Safety
/// As [`crate::gemm::packed::TileLayout::pack_lhs`].
pub(super) unsafe fn avx2(source: &TileSource<'_>, out: &mut [RowBlock]) {
    // SAFETY: the caller guarantees the instruction set and the source.
    unsafe { Avx2::assume().run(QuantizeRows::new(source, out)) }
}

/// # Safety
/// As [`crate::gemm::packed::TileLayout::pack_lhs`].
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn avx512(source: &TileSource<'_>, out: &mut [RowBlock]) {
    // SAFETY: the caller guarantees the instruction set and the source.
    unsafe { Avx512::assume().run(QuantizeRows::new(source, out)) }
}

/// Quantizes the rows of a tile.
struct QuantizeRows<'a> {
    source: &'a TileSource<'a>,
    out: &'a mut [RowBlock],
}

impl<'a> QuantizeRows<'a> {
    /// # Safety
    /// - As [`crate::gemm::packed::TileLayout::pack_lhs`].
    unsafe fn new(source: &'a TileSource<'a>, out: &'a mut [RowBlock]) -> QuantizeRows<'a> {
        assert_eq!(source.pointers.len(), source.rows, "rows of one piece");
        QuantizeRows { source, out }
    }
}

impl SimdOp for QuantizeRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let QuantizeRows { source: &TileSource { pointers, rows, len }, out } = self;
        for (row, blocks) in pointers.iter().zip(out.chunks_exact_mut(out.len() / rows)) {
            // SAFETY: `pack_lhs` requires each pointer to be valid for as many values.
            let (whole, rest) = unsafe { std::slice::from_raw_parts(*row, len) }.as_chunks::<BLOCK>();
            for (block, values) in blocks.iter_mut().zip(whole) {
                quantize_row(s, values, block);
            }
            if !rest.is_empty() {
                let mut values = [0f32; BLOCK];
                values[..rest.len()].copy_from_slice(rest);
                quantize_row(s, &values, &mut blocks[whole.len()]);
            }
        }
    }
}

/// The scale of values of which this is the largest magnitude, and its inverse. Infinite or NaN where `largest` is.
#[inline(always)]
fn scale_of(largest: f32) -> (f32, f32) {
    // Of smaller values the inverse of the scale would overflow. They become zero.
    const TINY: f32 = 1e-30;
    (largest / MAX_BYTE, MAX_BYTE / largest.max(TINY))
}

/// The nearest integer, ties to even, in the lowest byte: that is where [`ROUND`] leaves it.
#[inline(always)]
fn nearest(value: f32, inverse: f32) -> u32 {
    ((value * inverse).clamp(-MAX_BYTE, MAX_BYTE) + ROUND).to_bits()
}

/// A block of a row. The scale is NaN where a value is NaN or infinite.
#[inline(always)]
fn quantize_row<S: Simd>(s: S, values: &[f32; BLOCK], block: &mut RowBlock) {
    let (zero, mut largest, mut product) = (s.splat(0.0), s.splat(0.0), s.splat(0.0));
    for at in (0..BLOCK).step_by(S::LANES) {
        let values = s.load(&values[at..]);
        largest = s.max(s.abs(values), largest);
        // Zero times what is not finite is NaN, which stays in the sum.
        product = s.mul_add(values, zero, product);
    }
    let (scale, inverse) = scale_of(s.reduce_max(largest));
    // The compiler vectorizes this loop.
    let mut sum = 0;
    for (byte, value) in block.values.iter_mut().zip(values) {
        *byte = nearest(*value, inverse) as i8;
        sum += i32::from(*byte);
    }
    (block.scale, block.start) = (scale + s.reduce_add(product), -OFFSET * sum);
}

/// Packs a part of a panel of a weight of one tap.
pub(super) fn panel(isa: Isa, weight: &WeightMatrix, panel: usize, part: SumPart, out: &mut [PanelBlock]) {
    assert!(weight.taps() == 1 && part.from.is_multiple_of(BLOCK), "blocks of inputs");
    if weight.dtype() == DType::Q8_0 && weight.has_whole_rows() {
        isa.run(ArrangeBlocks { weight, panel, part, out });
        return;
    }
    thread_local! {
        static WIDE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    WIDE.with_borrow_mut(|wide| {
        wide.clear();
        wide.resize(out.len() * BLOCK * PANEL, 0.0);
        weight.widen(isa, panel, part.from, part.len, wide);
        isa.run(QuantizeColumns { wide, out });
    });
}

/// Blocks of Q8_0 as they are, in the order of a panel.
struct ArrangeBlocks<'a> {
    weight: &'a WeightMatrix,
    panel: usize,
    part: SumPart,
    out: &'a mut [PanelBlock],
}

impl SimdOp for ArrangeBlocks<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ArrangeBlocks { weight, panel, part, out } = self;
        let (rows, _) = weight.rows_of_panel(panel);
        for (index, to) in out.iter_mut().enumerate() {
            let at = (part.from / BLOCK + index) * Q8_0::BYTES;
            let mut scales = [0u16; PANEL];
            // Rows that do not exist have the scale 0.
            for (output, row) in rows.iter().enumerate().filter(|(_, row)| !row.is_empty()) {
                let block = &row[at..][..Q8_0::BYTES];
                scales[output] = Q8_0::scale(block).to_bits();
                for (group, from) in block[Q8_0::SCALE_BYTES..].as_chunks::<GROUP>().0.iter().enumerate() {
                    to.values[group][output] = from.map(|byte| byte ^ OFFSET as u8);
                }
            }
            to.scales = s.widen_f16(scales);
        }
    }
}

/// Quantizes `[blocks][32][16]` values, each column of a block.
struct QuantizeColumns<'a> {
    wide: &'a [f32],
    out: &'a mut [PanelBlock],
}

impl SimdOp for QuantizeColumns<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        const OFFSETS: u32 = u32::from_le_bytes([OFFSET as u8; GROUP]);
        let QuantizeColumns { wide, out } = self;
        for (wide, to) in wide.as_chunks::<{ BLOCK * PANEL }>().0.iter().zip(out) {
            let mut largest = [0u32; PANEL];
            for values in wide.as_chunks::<PANEL>().0 {
                for (largest, value) in largest.iter_mut().zip(values) {
                    // The bits of magnitudes are in the order of the values, with infinity and then NaN above.
                    *largest = value.abs().to_bits().max(*largest);
                }
            }
            let mut inverses = [0f32; PANEL];
            for output in 0..PANEL {
                (to.scales[output], inverses[output]) = scale_of(f32::from_bits(largest[output]));
            }
            for (wide, to) in wide.as_chunks::<{ GROUP * PANEL }>().0.iter().zip(&mut to.values) {
                for output in 0..PANEL {
                    let byte = |term: usize| nearest(wide[term * PANEL + output], inverses[output]) & 0xFF;
                    let bytes = byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
                    to[output] = (bytes ^ OFFSETS).to_le_bytes();
                }
            }
        }
    }
}
