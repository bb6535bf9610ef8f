//! The kernel in plain Rust, which specifies the others.

use super::{GROUP, GROUPS, Int8Block};
use crate::gemm::epilogue::store_rows;
use crate::gemm::weight::PANEL;
use crate::simd::{Avx2, Scalar, Simd, SimdOp};

/// Rows of a tile.
pub(super) const ROWS: usize = 4;

/// # Safety
/// As for [`crate::gemm::micro::MicroKernel::run`].
pub(super) unsafe fn scalar(block: &Int8Block) {
    // SAFETY: the caller's promises.
    unsafe { PortableBlock::new(block).run(Scalar) }
}

/// # Safety
/// As for [`crate::gemm::micro::MicroKernel::run`].
pub(super) unsafe fn avx2(block: &Int8Block) {
    // SAFETY: the caller guarantees the instruction set and the block.
    unsafe { Avx2::assume().run(PortableBlock::new(block)) }
}

/// A block, to be compiled for an instruction set.
struct PortableBlock<'a>(&'a Int8Block);

impl<'a> PortableBlock<'a> {
    /// # Safety
    /// As for [`crate::gemm::micro::MicroKernel::run`].
    #[inline(always)]
    unsafe fn new(block: &'a Int8Block) -> PortableBlock<'a> {
        PortableBlock(block)
    }
}

impl SimdOp for PortableBlock<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let block = self.0;
        let steps = block.lhs.tile_stride / ROWS;
        for row in (0..block.row_count).step_by(ROWS) {
            let mut sums = [[0f32; PANEL]; ROWS];
            // SAFETY: `new` requires the tile of the row, a panel of as many blocks, and the place of the output.
            unsafe {
                let tile = block.lhs.tiles.add(row / ROWS * block.lhs.tile_stride);
                for step in 0..steps {
                    let b = &*block.panel.add(step);
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let a = &*tile.add(r * steps + step);
                        let mut integers = [a.start; PANEL];
                        for group in 0..GROUPS {
                            let a = &a.values.as_chunks::<GROUP>().0[group];
                            for (integer, b) in integers.iter_mut().zip(&b.values[group]) {
                                for (a, b) in a.iter().zip(b) {
                                    *integer += i32::from(*a) * i32::from(*b);
                                }
                            }
                        }
                        for output in 0..PANEL {
                            let scale = a.scale * b.scales[output];
                            sums[output] = (integers[output] as f32).mul_add(scale, sums[output]);
                        }
                    }
                }
                store_rows(s, block, row, sums.as_flattened(), PANEL);
            }
        }
    }
}
