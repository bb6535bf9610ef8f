//! Both sides in bf16, in the order that the kernels read, for any instruction set.

use super::{Bf16Line, LINE};
use crate::gemm::lhs::SumPart;
use crate::gemm::packed::TileSource;
use crate::gemm::weight::{PANEL, WeightMatrix};
use crate::simd::{Avx2, Avx512, Isa, Scalar, Simd, SimdOp};
use std::cell::RefCell;

/// The order of the lines of a packed tile of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gemm) enum LineOrder {
    /// `[rows][steps]`: a kernel goes along each row.
    ByRow,
    /// `[steps][rows]`: a kernel loads a step of all rows at once.
    #[cfg_attr(
        not(any(target_arch = "x86_64", test)),
        allow(dead_code, reason = "only AMX's kernel wants it")
    )]
    ByStep,
}

impl LineOrder {
    /// Distances from a row's line to the next row's, and from a step's to the next step's.
    pub(in crate::gemm) fn strides(self, rows: usize, steps: usize) -> [usize; 2] {
        match self {
            LineOrder::ByRow => [steps, 1],
            LineOrder::ByStep => [1, rows],
        }
    }
}

/// The bits of the nearest bf16, ties to even. A NaN becomes a quiet one.
#[inline(always)]
pub(crate) fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    let nearest = (bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16) as u16;
    if x.is_nan() { (bits >> 16) as u16 | 0x40 } else { nearest }
}

/// Rounds the rows of a tile.
struct PackRows<'a> {
    source: &'a TileSource<'a>,
    order: LineOrder,
    out: &'a mut [Bf16Line],
}

impl SimdOp for PackRows<'_> {
    type Output = ();
    /// The compiler vectorizes the loop over the values of a line, in whichever instruction set it is compiled for.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let PackRows { source: &TileSource { pointers, rows, len }, order, out } = self;
        let [row_stride, step_stride] = order.strides(rows, out.len() / rows);
        for row in 0..rows {
            let mut at = 0;
            for piece in pointers.iter().skip(row).step_by(rows) {
                // SAFETY: `pack_lhs` requires each pointer to be valid for as many values.
                let mut piece = unsafe { std::slice::from_raw_parts(*piece, len) };
                while !piece.is_empty() {
                    let line = &mut out[row * row_stride + at / LINE * step_stride].0[at % LINE..];
                    let (values, rest) = piece.split_at(line.len().min(piece.len()));
                    for (to, from) in line.iter_mut().zip(values) {
                        *to = round(*from);
                    }
                    (at, piece) = (at + values.len(), rest);
                }
            }
            if !at.is_multiple_of(LINE) {
                out[row * row_stride + at / LINE * step_stride].0[at % LINE..].fill(0);
            }
        }
    }
}

impl<'a> PackRows<'a> {
    /// # Safety
    /// - As [`crate::gemm::packed::TileLayout::pack_lhs`].
    unsafe fn new(source: &'a TileSource<'a>, order: LineOrder, out: &'a mut [Bf16Line]) -> PackRows<'a> {
        PackRows { source, order, out }
    }
}

/// # Safety
/// As [`crate::gemm::packed::TileLayout::pack_lhs`].
pub(in crate::gemm) unsafe fn rows_scalar(source: &TileSource<'_>, out: &mut [Bf16Line]) {
    // SAFETY: the caller's promises.
    unsafe { PackRows::new(source, LineOrder::ByRow, out).run(Scalar) }
}

/// The same step by step.
///
/// # Safety
/// As [`crate::gemm::packed::TileLayout::pack_lhs`].
#[cfg(test)]
pub(in crate::gemm) unsafe fn steps_scalar(source: &TileSource<'_>, out: &mut [Bf16Line]) {
    // SAFETY: the caller's promises.
    unsafe { PackRows::new(source, LineOrder::ByStep, out).run(Scalar) }
}

/// # Safety
/// As [`crate::gemm::packed::TileLayout::pack_lhs`].
pub(super) unsafe fn rows_avx2(source: &TileSource<'_>, out: &mut [Bf16Line]) {
    // SAFETY: the caller guarantees the instruction set and the source.
    unsafe { Avx2::assume().run(PackRows::new(source, LineOrder::ByRow, out)) }
}

/// # Safety
/// As [`crate::gemm::packed::TileLayout::pack_lhs`].
pub(super) unsafe fn rows_avx512(source: &TileSource<'_>, out: &mut [Bf16Line]) {
    // SAFETY: the caller guarantees the instruction set and the source.
    unsafe { Avx512::assume().run(PackRows::new(source, LineOrder::ByRow, out)) }
}

/// Packs a part of a panel: widened, then rounded. A weight in bf16 comes out as it is.
pub(in crate::gemm) fn panel(
    isa: Isa,
    weight: &WeightMatrix,
    panel: usize,
    part: SumPart,
    out: &mut [Bf16Line],
) {
    with_widened(isa, weight, panel, part, |wide| isa.run(PackColumns { wide, out }));
}

/// Calls `f` with a part of a panel in `f32`, `[terms][16]`.
pub(super) fn with_widened(
    isa: Isa,
    weight: &WeightMatrix,
    panel: usize,
    part: SumPart,
    f: impl FnOnce(&[f32]),
) {
    thread_local! {
        static WIDE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    WIDE.with_borrow_mut(|wide| {
        wide.resize(weight.taps() * part.len * PANEL, 0.0);
        weight.widen(isa, panel, part.from, part.len, wide);
        f(wide);
    });
}

/// Rounds terms of 16 outputs, `[terms][16]`.
pub(super) struct PackColumns<'a> {
    pub(super) wide: &'a [f32],
    pub(super) out: &'a mut [Bf16Line],
}

impl SimdOp for PackColumns<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let PackColumns { wide, out } = self;
        let (pairs, last) = wide.as_chunks::<LINE>();
        for (line, pair) in out.iter_mut().zip(pairs) {
            for output in 0..PANEL {
                line.0[2 * output] = round(pair[output]);
                line.0[2 * output + 1] = round(pair[PANEL + output]);
            }
        }
        out[pairs.len()..].fill(Bf16Line::default());
        for (output, value) in last.iter().enumerate() {
            out[pairs.len()].0[2 * output] = round(*value);
        }
    }
}
