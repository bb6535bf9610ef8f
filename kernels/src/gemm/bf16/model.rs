//! What the instructions for bf16 compute, bit for bit, and the portable kernel, which computes what `VDPBF16PS` does.
//!
//! Intel, Software Developer's Manual, volume 2, `VDPBF16PS` and `TDPBF16PS`: fused multiply-adds, rounded to the nearest,
//! ties to even, whatever MXCSR says; denormal inputs are zero, and results that would be denormal become zero. Whether a
//! result is denormal is decided after rounding it to 24 bits. The order of the additions is that of the manual's pseudo
//! code: `VDPBF16PS` adds the product of the second values of two pairs first, then that of the first ones. Which NaN
//! results is not modelled: Rust does not specify it for its own operations either.

use super::{Bf16Block, LINE};
use crate::gemm::epilogue::store_rows;
use crate::gemm::weight::PANEL;
use crate::simd::{Avx2, Avx512, Scalar, Simd, SimdOp};

/// Magnitudes below it round to a denormal `f32`: half a unit of 24 bits below the smallest normal one.
const MIN_NORMAL: f64 = {
    let normal = f32::MIN_POSITIVE as f64;
    normal - normal / (1u64 << 25) as f64
};

/// The value of a bf16, zero where it is denormal.
#[inline(always)]
pub(in crate::gemm) fn value(bits: u16) -> f32 {
    flushed(f32::from_bits(u32::from(bits) << 16))
}

/// Zero of the same sign for a denormal value.
#[inline(always)]
pub(in crate::gemm) fn flushed(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0f32.copysign(x) } else { x }
}

/// `a b + c`, fused, zero instead of a denormal result; `a` and `b` are values of bf16, and no value is denormal.
///
/// The sum in `f64` is exact wherever it matters: near the smallest normal `f32` the product's 16 bits and the bits of `c`
/// fit 53.
#[inline(always)]
pub(in crate::gemm) fn fused(a: f32, b: f32, c: f32) -> f32 {
    let sum = a.mul_add(b, c);
    let is_denormal = (f64::from(a) * f64::from(b) + f64::from(c)).abs() < MIN_NORMAL;
    if is_denormal { 0f32.copysign(sum) } else { sum }
}

/// Rows of a tile of the portable kernel.
pub(super) const ROWS: usize = 2;

/// # Safety
/// As for [`crate::gemm::micro::MicroKernel::run`].
pub(super) unsafe fn scalar(block: &Bf16Block) {
    // SAFETY: the caller's promises.
    unsafe { ModelBlock::new(block).run(Scalar) }
}

/// # Safety
/// As for [`crate::gemm::micro::MicroKernel::run`].
pub(super) unsafe fn avx2(block: &Bf16Block) {
    // SAFETY: the caller guarantees the instruction set and the block.
    unsafe { Avx2::assume().run(ModelBlock::new(block)) }
}

/// # Safety
/// As for [`crate::gemm::micro::MicroKernel::run`].
pub(super) unsafe fn avx512(block: &Bf16Block) {
    // SAFETY: the caller guarantees the instruction set and the block.
    unsafe { Avx512::assume().run(ModelBlock::new(block)) }
}

/// A block, to be compiled for an instruction set.
struct ModelBlock<'a>(&'a Bf16Block);

impl<'a> ModelBlock<'a> {
    /// # Safety
    /// As for [`crate::gemm::micro::MicroKernel::run`].
    #[inline(always)]
    unsafe fn new(block: &'a Bf16Block) -> ModelBlock<'a> {
        ModelBlock(block)
    }
}

impl SimdOp for ModelBlock<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let block = self.0;
        let pairs = block.lhs.terms.div_ceil(2);
        for row in (0..block.row_count).step_by(ROWS) {
            let mut sums = [0f32; ROWS * PANEL];
            // SAFETY: `new` requires the tile of the row, the panel and the place of the output; tiles and panels hold as many
            // pairs, and 32 values in a line.
            unsafe {
                let tile = block.lhs.tiles.add(row / ROWS * block.lhs.tile_stride);
                for pair in 0..pairs {
                    let b = &(*block.panel.add(pair)).0;
                    let even: [f32; PANEL] = std::array::from_fn(|output| value(b[2 * output]));
                    let odd: [f32; PANEL] = std::array::from_fn(|output| value(b[2 * output + 1]));
                    for (r, sums) in sums.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
                        let a = &(*tile.add(r * (block.lhs.tile_stride / ROWS) + pair / (LINE / 2))).0;
                        let [a0, a1] = [0, 1].map(|i| value(a[2 * pair % LINE + i]));
                        for output in 0..PANEL {
                            sums[output] = fused(a0, even[output], fused(a1, odd[output], sums[output]));
                        }
                    }
                }
                store_rows(s, block, row, &sums, PANEL);
            }
        }
    }
}
