//! Micro-kernels: tiles of the output, their sums held in registers.
//!
//! All products of this crate (matrix product, convolution, attention) end here. A tile is some rows by one or more
//! panels of 16 outputs. Its left side is given as row pointers, a list for each piece of the sum, so that a convolution
//! can take each tap's rows from where they lie in the picture and nothing is copied; its right side is panels in `f32`,
//! read from front to back. A kernel goes down a block of rows tile by tile, while its panels stay in L1.
//!
//! [`KERNELS`] is the one list of them: dispatch, tests and benches go through it.

use super::weight::PANEL;
use crate::simd::{Avx2, Avx512, Isa, Neon, Scalar, Simd, SimdOp, prefetch};

/// Rows of the tallest tile.
pub(crate) const MAX_ROWS: usize = 8;
/// Columns of the widest tile.
pub(crate) const MAX_COLUMNS: usize = 2 * PANEL;

/// A block of rows times some columns: `c = [c +] rows · panels [+ bias] [+ residual]`.
///
/// Additions happen in this order for every element, whatever the tile's size, so that a result does not depend on
/// where in the matrix a row lies.
pub(crate) struct Block {
    /// `pieces` lists of row pointers, `rows_stride` apart; piece `p` of row `r` is `rows[p * rows_stride + r] + offset`. Each list
    /// goes on for [`MAX_ROWS`] pointers after the last row, which may be any that can be read.
    pub(crate) rows: *const *const f32,
    /// Distance between the lists.
    pub(crate) rows_stride: usize,
    /// Values to skip at each pointer: the part of the sum, or the matrix of a stack.
    pub(crate) offset: usize,
    /// Rows of the output.
    pub(crate) row_count: usize,
    /// Number of pieces that the sum is cut into.
    pub(crate) pieces: usize,
    /// Length of each piece.
    pub(crate) len: usize,
    /// The first panel: `pieces * len` times 16 values.
    pub(crate) panel: *const f32,
    /// Distance from a panel to the next, for kernels of more than one.
    pub(crate) panel_stride: usize,
    /// First value of the output block.
    pub(crate) c: *mut f32,
    /// Distance between rows of the output.
    pub(crate) c_stride: usize,
    /// Add to what the output holds (a later part of the sum).
    pub(crate) accumulate: bool,
    /// A value for each column to add to each row, or null.
    pub(crate) bias: *const f32,
    /// First value of a block to add, with the output's stride, or null.
    pub(crate) residual: *const f32,
    /// Columns of the output that exist, at most the kernel's.
    pub(crate) columns: usize,
    /// Ask for the next tile's rows while one is computed: for rows that lie in a distant cache.
    pub(crate) prefetch: bool,
}

/// A compiled micro-kernel.
pub(crate) struct MicroKernel {
    pub(crate) isa: Isa,
    /// Columns of its tile.
    pub(crate) columns: usize,
    run: unsafe fn(&Block),
}

/// Every micro-kernel, slowest first; of one instruction set, the narrowest first. Each has a tall tile, and a short one
/// for what the tall one leaves of the rows.
///
/// Tile sizes: AVX2 has 16 registers; 6 x 2 sums, 2 panel vectors and 1 row value use 15 of them, and 8 loads for 12
/// multiply-adds stay under the two loads a cycle. 4 x 2 sums are as many as hide the latency of a multiply-add. 8 x 1 sums
/// are for the last half panel of heads of 40 channels. The portable one keeps 2 rows, 8 SSE registers of sums.
///
/// AVX-512 holds a panel in one register and multiplies by a row's value straight from memory. Two panels are multiplied at
/// once: 8 x 2 sums take 10 loads for 16 multiply-adds, where 8 x 1 take 9 for 8. Taller tiles are no faster, and slower
/// where rows lie a multiple of 4 KiB apart (1024 or 5120 values): more than 8 rows then fall into one set of an L1 of 8
/// ways.
/// NEON has 32 registers: 6 x 4 sums and 4 panel vectors leave 4 for row values. The 4 x 4 sums of the short one are as many
/// as four units of latency 4 need.
pub(crate) static KERNELS: &[MicroKernel] = &[
    MicroKernel { isa: Isa::Scalar, columns: 16, run: scalar_16 },
    MicroKernel { isa: Isa::Avx2, columns: 8, run: avx2_8 },
    MicroKernel { isa: Isa::Avx2, columns: 16, run: avx2_16 },
    MicroKernel { isa: Isa::Avx512, columns: 16, run: avx512_16 },
    MicroKernel { isa: Isa::Avx512, columns: 32, run: avx512_32 },
    MicroKernel { isa: Isa::Neon, columns: 16, run: neon_16 },
];

impl MicroKernel {
    /// Computes a block.
    ///
    /// # Safety
    /// - The CPU has the kernel's instruction set (true for those of [`Kernels::of`]).
    /// - The row pointers are as [`Block::rows`] says, each valid for reads of `len` values after `offset`.
    /// - Each panel that the kernel's columns need is valid for reads of `pieces * len * 16` values; `bias` is null or valid
    ///   for the kernel's columns.
    /// - `c`, and `residual` unless null, are valid for `row_count` rows of `columns` values, `c_stride` apart.
    #[inline]
    pub(crate) unsafe fn run(&self, block: &Block) {
        debug_assert!(block.columns <= self.columns);
        // SAFETY: the caller's promises are those that the function needs.
        unsafe { (self.run)(block) }
    }
}

/// The kernels of one instruction set, looked up once for many blocks.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    all: &'static [MicroKernel],
}

impl Kernels {
    /// Those for an instruction set.
    pub(crate) fn of(isa: Isa) -> Kernels {
        let best = KERNELS.iter().rfind(|kernel| kernel.isa <= isa && kernel.isa.is_available());
        let isa = best.map_or(Isa::Scalar, |kernel| kernel.isa);
        let first = KERNELS.iter().position(|kernel| kernel.isa == isa).unwrap_or(0);
        let count = KERNELS[first..].iter().take_while(|kernel| kernel.isa == isa).count();
        Kernels { all: &KERNELS[first..first + count] }
    }

    /// The fastest kernel of whole panels where `left` panels remain to be multiplied.
    #[inline]
    pub(crate) fn for_panels(&self, left: usize) -> &'static MicroKernel {
        let fits = |kernel: &&MicroKernel| kernel.columns <= left.max(1) * PANEL;
        self.all.iter().rfind(fits).unwrap_or(&self.all[0])
    }

    /// The fastest kernel for the next of `left` columns: of whole panels, or for a last part of a panel.
    #[inline]
    pub(crate) fn for_columns(&self, left: usize) -> &'static MicroKernel {
        let first = &self.all[0];
        if left <= first.columns { first } else { self.for_panels(left / PANEL) }
    }
}

unsafe fn scalar_16(block: &Block) {
    // SAFETY: the caller's promises, and 16 lanes fill a panel.
    unsafe { compute::<Scalar, 2, 2, 16>(Scalar, block) }
}

/// A block, to be compiled for an instruction set with tiles of `TALL` or `SHORT` rows by `VECTORS` vectors.
struct Op<'a, const TALL: usize, const SHORT: usize, const VECTORS: usize>(&'a Block);

impl<const TALL: usize, const SHORT: usize, const VECTORS: usize> SimdOp for Op<'_, TALL, SHORT, VECTORS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: who makes an `Op` vouches for the block.
        unsafe { compute::<S, TALL, SHORT, VECTORS>(s, self.0) }
    }
}

unsafe fn avx2_16(block: &Block) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { Avx2::assume() }.run(Op::<6, 4, 2>(block));
}

unsafe fn avx2_8(block: &Block) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { Avx2::assume() }.run(Op::<8, 4, 1>(block));
}

unsafe fn avx512_16(block: &Block) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { Avx512::assume() }.run(Op::<8, 4, 1>(block));
}

unsafe fn avx512_32(block: &Block) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { Avx512::assume() }.run(Op::<8, 4, 2>(block));
}

unsafe fn neon_16(block: &Block) {
    Neon::new().expect("dispatch checked for NEON").run(Op::<6, 4, 4>(block));
}

/// All rows of a block.
///
/// # Safety
/// As for [`MicroKernel::run`], with `VECTORS * LANES` columns.
#[inline(always)]
unsafe fn compute<S: Simd, const TALL: usize, const SHORT: usize, const VECTORS: usize>(s: S, block: &Block) {
    let mut row = 0;
    while row < block.row_count {
        let left = block.row_count - row;
        // The short tile, where it covers what is left with fewer rows to spare.
        let is_short = left <= SHORT || (left > TALL && left <= 2 * SHORT);
        // SAFETY: `row` is a row of the block, and the lists go on after the last.
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

/// The tile of `ROWS` rows from `row` on.
///
/// # Safety
/// As for [`compute`]; `row` is a row of the block.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(s: S, block: &Block, row: usize) {
    let width = VECTORS * S::LANES;
    let valid_rows = ROWS.min(block.row_count - row);
    // SAFETY: the row pointers and the panels are valid by the caller's promise; row `row` of the output exists.
    unsafe {
        if block.prefetch && row + ROWS < block.row_count {
            for next in row + ROWS..row + 2 * ROWS {
                prefetch((*block.rows.add(next)).wrapping_add(block.offset), block.len);
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
        // A tile over the edge: the same arithmetic in a full-size copy, of which the part that exists is kept.
        let mut whole = [0f32; MAX_ROWS * MAX_COLUMNS];
        let mut added = [0f32; MAX_ROWS * MAX_COLUMNS];
        let part = Part { rows: valid_rows, columns: block.columns };
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

/// The part of a tile that exists.
struct Part {
    rows: usize,
    columns: usize,
}

impl Part {
    /// # Safety
    /// - `from` and `to` are valid for the rows and columns with their strides.
    #[inline(always)]
    unsafe fn copy(&self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for row in 0..self.rows {
            // SAFETY: within the rows that the caller vouches for.
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
    block: &Block,
    row: usize,
) -> [[S::F32; VECTORS]; ROWS] {
    let mut sums = [[s.splat(0.0); VECTORS]; ROWS];
    let vectors_of_panel = PANEL / S::LANES;
    // Where each vector lies: two or more to a panel, or a panel each.
    let place = |v: usize| v / vectors_of_panel * block.panel_stride + v % vectors_of_panel * S::LANES;
    let mut panel = block.panel;
    for piece in 0..block.pieces {
        // SAFETY: the lists hold ROWS pointers from `row` on, each to `len` values; the panels `pieces * len` steps.
        unsafe {
            let list = block.rows.add(piece * block.rows_stride + row);
            let rows: [*const f32; ROWS] = std::array::from_fn(|r| (*list.add(r)).add(block.offset));
            for k in 0..block.len {
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

/// Adds what belongs to the sums and stores them as whole rows of a tile.
///
/// # Safety
/// - `c`, and `residual` unless null, are valid for `ROWS` rows of `VECTORS` vectors, `stride` apart; `block.bias` as for
///   [`MicroKernel::run`].
#[inline(always)]
unsafe fn finish<S: Simd, const ROWS: usize, const VECTORS: usize>(
    s: S,
    block: &Block,
    sums: &[[S::F32; VECTORS]; ROWS],
    c: *mut f32,
    residual: *const f32,
    stride: usize,
) {
    // One loop for each addition, so that each is unrolled and the sums stay in registers.
    let mut sums = *sums;
    let place = |r: usize, v: usize| r * stride + v * S::LANES;
    // SAFETY: row r and vector v lie within what the caller vouches for.
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
