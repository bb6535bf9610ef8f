//! Single precision and its micro-kernels: rows of `f32` by pointers, panels of 16 outputs.

use super::arithmetic::{Arithmetic, KernelSetOf, Scratch};
use super::lhs::{MAX_ROWS, RowPointers};
use super::micro::{KernelSet, MicroKernel, PanelLayout, ProductBlock};
use super::weight::PANEL;
use crate::simd::{Avx2, Avx512, Isa, Neon, Requires, Scalar, Simd, SimdOp, prefetch};
use std::cell::RefCell;

/// `f32` times `f32`, summed in `f32`. Rows are read where they are; a panel is `[terms][16]`.
#[derive(Debug)]
pub(crate) struct SinglePrecision;

// SAFETY: the sets below name the instruction set of their kernels, the first is portable; none has more than 32 columns.
unsafe impl Arithmetic for SinglePrecision {
    type Lhs = RowPointers;
    type Rhs = f32;
    type Out = f32;

    fn kernel_sets() -> &'static [KernelSetOf<SinglePrecision>] {
        KERNEL_SETS
    }

    fn with_scratch(f: impl FnOnce(&mut Scratch<SinglePrecision>)) {
        thread_local! {
            static SCRATCH: RefCell<Scratch<SinglePrecision>> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(f);
    }
}

type F32Block = ProductBlock<RowPointers, f32, f32>;

/// Every micro-kernel of single precision. Each has a tall tile, and a short one for the last rows that do not fill the
/// tall one.
///
/// Tile sizes: AVX2 has 16 registers; 6 x 2 sums, 2 panel vectors and 1 row value use 15 of them, and 8 loads for 12
/// multiply-adds stay under the two loads a cycle. 4 x 2 sums are the fewest that hide the latency of a multiply-add. 8 x 1
/// sums are for the last half panel of heads of 40 channels. The portable one keeps 2 rows, 8 SSE registers of sums.
///
/// AVX-512 holds a panel in one register and multiplies by a row's value straight from memory. Two panels are multiplied at
/// once: 8 x 2 sums take 10 loads for 16 multiply-adds, where 8 x 1 take 9 for 8. Taller tiles are no faster, and slower
/// where rows are a multiple of 4 KiB apart (1024 or 5120 values): more than 8 rows then fall into one set of an L1 of 8
/// ways.
///
/// NEON has 32 registers: 6 x 4 sums and 4 panel vectors leave 4 for row values. The 4 x 4 sums of the short one are the
/// fewest that keep four units of latency 4 busy.
static KERNEL_SETS: &[KernelSetOf<SinglePrecision>] = &[
    KernelSet {
        requires: Requires::isa(Isa::Scalar),
        row_step: ROW_STEP,
        max_panels: MAX_PANELS,
        shares_panels: false,
        lhs: (),
        rhs: PANELS,
        kernels: &[MicroKernel { columns: 16, compute: scalar }],
    },
    KernelSet {
        requires: Requires::isa(Isa::Avx2),
        row_step: ROW_STEP,
        max_panels: MAX_PANELS,
        shares_panels: false,
        lhs: (),
        rhs: PANELS,
        kernels: &[
            MicroKernel { columns: 8, compute: avx2::<8, 4, 1> },
            MicroKernel { columns: 16, compute: avx2::<6, 4, 2> },
        ],
    },
    KernelSet {
        requires: Requires::isa(Isa::Avx512),
        row_step: ROW_STEP,
        max_panels: MAX_PANELS,
        shares_panels: false,
        lhs: (),
        rhs: PANELS,
        kernels: &[
            MicroKernel { columns: 16, compute: avx512::<8, 4, 1> },
            MicroKernel { columns: 32, compute: avx512::<8, 4, 2> },
        ],
    },
    KernelSet {
        requires: Requires::isa(Isa::Neon),
        row_step: ROW_STEP,
        max_panels: MAX_PANELS,
        shares_panels: false,
        lhs: (),
        rhs: PANELS,
        kernels: &[MicroKernel { columns: 16, compute: neon::<6, 4, 4> }],
    },
];

/// Columns of the widest tile.
pub(crate) const MAX_COLUMNS: usize = 32;

/// A multiple of 2, 4, 6 and 8: the same for all instruction sets.
const ROW_STEP: usize = 24;

/// 8 panels of 24 KiB are in L2, beside the rows.
const MAX_PANELS: usize = 8;

/// Panels of all instruction sets: `[terms][16]`.
const PANELS: PanelLayout<f32> = PanelLayout {
    width: PANEL,
    k_step: 1,
    step_len: PANEL,
    pack: |isa, weight, panel, part, out| weight.widen(isa, panel, part.from, part.len, out),
};

/// # Safety
/// As for [`MicroKernel::run`].
unsafe fn scalar(block: &F32Block) {
    // SAFETY: the caller's promises, and 16 lanes fill a panel.
    unsafe { compute::<Scalar, 2, 2, 16>(Scalar, block) }
}

/// A block, to be compiled for an instruction set with tiles of `TALL` or `SHORT` rows by `VECTORS` vectors.
struct ComputeBlock<'a, const TALL: usize, const SHORT: usize, const VECTORS: usize>(&'a F32Block);

impl<'a, const TALL: usize, const SHORT: usize, const VECTORS: usize> ComputeBlock<'a, TALL, SHORT, VECTORS> {
    /// # Safety
    /// As for [`MicroKernel::run`], on the instruction set that it is run on.
    #[inline(always)]
    unsafe fn new(block: &'a F32Block) -> Self {
        ComputeBlock(block)
    }
}

impl<const TALL: usize, const SHORT: usize, const VECTORS: usize> SimdOp
    for ComputeBlock<'_, TALL, SHORT, VECTORS>
{
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: `new` requires the caller's promises for the block.
        unsafe { compute::<S, TALL, SHORT, VECTORS>(s, self.0) }
    }
}

/// # Safety
/// As for [`MicroKernel::run`], with `VECTORS` vectors of columns.
unsafe fn avx2<const TALL: usize, const SHORT: usize, const VECTORS: usize>(block: &F32Block) {
    // SAFETY: the caller guarantees the instruction set and the block.
    unsafe { Avx2::assume().run(ComputeBlock::<TALL, SHORT, VECTORS>::new(block)) }
}

/// # Safety
/// As for [`MicroKernel::run`], with `VECTORS` vectors of columns.
unsafe fn avx512<const TALL: usize, const SHORT: usize, const VECTORS: usize>(block: &F32Block) {
    // SAFETY: the caller guarantees the instruction set and the block.
    unsafe { Avx512::assume().run(ComputeBlock::<TALL, SHORT, VECTORS>::new(block)) }
}

/// # Safety
/// As for [`MicroKernel::run`], with `VECTORS` vectors of columns.
unsafe fn neon<const TALL: usize, const SHORT: usize, const VECTORS: usize>(block: &F32Block) {
    // SAFETY: the caller guarantees the instruction set and the block.
    unsafe { Neon::assume().run(ComputeBlock::<TALL, SHORT, VECTORS>::new(block)) }
}

/// All rows of a block.
///
/// # Safety
/// As for [`MicroKernel::run`], with `VECTORS * LANES` columns.
#[inline(always)]
unsafe fn compute<S: Simd, const TALL: usize, const SHORT: usize, const VECTORS: usize>(
    s: S,
    block: &F32Block,
) {
    let mut row = 0;
    while row < block.row_count {
        let remaining = block.row_count - row;
        // The short tile, where it covers the remaining rows with fewer superfluous ones.
        let is_short = remaining <= SHORT || (remaining > TALL && remaining <= 2 * SHORT);
        // SAFETY: `row` is a row of the block, and the lists continue after the last.
        unsafe {
            if SHORT < TALL && is_short {
                tile::<S, SHORT, VECTORS>(s, block, row);
                row += SHORT;
            } else {
                tile::<S, TALL, VECTORS>(s, block, row);
                row += TALL;
            }
        }
    }
}

/// The tile of `ROWS` rows that begins at `row`.
///
/// # Safety
/// As for [`compute`]; `row` is a row of the block.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(s: S, block: &F32Block, row: usize) {
    let width = VECTORS * S::LANES;
    let lhs = block.lhs;
    let valid_rows = ROWS.min(block.row_count - row);
    // SAFETY: the row pointers and the panels are valid by the caller's promise; row `row` of the output exists.
    unsafe {
        if block.prefetch && row + ROWS < block.row_count {
            for next in row + ROWS..row + 2 * ROWS {
                prefetch((*lhs.lists.add(next)).wrapping_add(lhs.offset), lhs.len);
            }
        }
        let sums = multiply::<S, ROWS, VECTORS>(s, block, row);
        let c = block.c.add(row * block.c_stride);
        let residual =
            block.residual.wrapping_add(if block.residual.is_null() { 0 } else { row * block.c_stride });
        if valid_rows == ROWS && block.columns == width {
            finish::<S, ROWS, VECTORS>(s, block, &sums, c, residual, block.c_stride);
            return;
        }
        // A tile that extends past the edge: the same arithmetic in a full-size copy, of which the existing part is kept.
        let mut whole = [0f32; MAX_ROWS * MAX_COLUMNS];
        let mut added = [0f32; MAX_ROWS * MAX_COLUMNS];
        let part = TilePart { rows: valid_rows, columns: block.columns };
        if block.accumulate {
            part.copy(c, block.c_stride, whole.as_mut_ptr(), width);
        }
        let mut from = std::ptr::null();
        if !residual.is_null() {
            part.copy(residual, block.c_stride, added.as_mut_ptr(), width);
            from = added.as_ptr();
        }
        finish::<S, ROWS, VECTORS>(s, block, &sums, whole.as_mut_ptr(), from, width);
        part.copy(whole.as_ptr(), width, c, block.c_stride);
    }
}

/// The part of a tile that is within the output.
struct TilePart {
    rows: usize,
    columns: usize,
}

impl TilePart {
    /// # Safety
    /// - `from` and `to` are valid for the rows and columns with their strides.
    #[inline(always)]
    unsafe fn copy(&self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for row in 0..self.rows {
            // SAFETY: within the rows that the caller guarantees.
            unsafe {
                let (from, to) = (from.add(row * from_stride), to.add(row * to_stride));
                std::ptr::copy_nonoverlapping(from, to, self.columns);
            }
        }
    }
}

/// The sums of products.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(
    s: S,
    block: &F32Block,
    row: usize,
) -> [[S::F32; VECTORS]; ROWS] {
    let mut sums = [[s.splat(0.0); VECTORS]; ROWS];
    let vectors_of_panel = PANEL / S::LANES;
    // The place of each vector: two or more to a panel, or a panel each.
    let lhs = block.lhs;
    let place = |v: usize| v / vectors_of_panel * block.panel_stride + v % vectors_of_panel * S::LANES;
    let mut panel = block.panel;
    for piece in 0..lhs.pieces {
        // SAFETY: the lists hold ROWS pointers from `row` on, each to `len` values; the panels `pieces * len` steps.
        unsafe {
            let list = lhs.lists.add(piece * lhs.list_stride + row);
            let rows: [*const f32; ROWS] = std::array::from_fn(|r| (*list.add(r)).add(lhs.offset));
            for k in 0..lhs.len {
                let b: [S::F32; VECTORS] = std::array::from_fn(|v| s.load_ptr(panel.add(place(v))));
                for r in 0..ROWS {
                    let a = s.splat(*rows[r].add(k));
                    for v in 0..VECTORS {
                        sums[r][v] = s.mul_add(a, b[v], sums[r][v]);
                    }
                }
                panel = panel.add(PANEL);
            }
        }
    }
    sums
}

/// Adds the output so far, the bias and the residual to the sums and stores them as whole rows of a tile.
///
/// # Safety
/// - `c`, and `residual` unless null, are valid for `ROWS` rows of `VECTORS` vectors, `stride` apart; `block.bias` as for
///   [`MicroKernel::run`].
#[inline(always)]
unsafe fn finish<S: Simd, const ROWS: usize, const VECTORS: usize>(
    s: S,
    block: &F32Block,
    sums: &[[S::F32; VECTORS]; ROWS],
    c: *mut f32,
    residual: *const f32,
    stride: usize,
) {
    // One loop for each addition, so that each is unrolled and the sums stay in registers.
    let mut sums = *sums;
    let place = |r: usize, v: usize| r * stride + v * S::LANES;
    // SAFETY: row r and vector v are within what the caller guarantees.
    unsafe {
        if block.accumulate {
            for (r, row) in sums.iter_mut().enumerate() {
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum = s.add(s.load_ptr(c.add(place(r, v))), *sum);
                }
            }
        }
        if !block.bias.is_null() {
            let bias: [S::F32; VECTORS] = std::array::from_fn(|v| s.load_ptr(block.bias.add(v * S::LANES)));
            for row in &mut sums {
                for (sum, bias) in row.iter_mut().zip(&bias) {
                    *sum = s.add(*sum, *bias);
                }
            }
        }
        if !residual.is_null() {
            for (r, row) in sums.iter_mut().enumerate() {
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum = s.add(*sum, s.load_ptr(residual.add(place(r, v))));
                }
            }
        }
        for (r, row) in sums.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                s.store_ptr(c.add(place(r, v)), *sum);
            }
        }
    }
}
