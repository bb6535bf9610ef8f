//! Micro-kernels: one tile of the output, its sums held in registers.
//!
//! All products of this crate (matrix product, convolution, attention) end here. A tile is `ROWS` rows by one panel
//! of 16 outputs. Its left side is given as row pointers, one list for each piece of the sum, so that a convolution
//! can take each tap's rows from where they lie in the picture and nothing is copied; its right side is one panel in
//! `f32`, read from front to back.
//!
//! [`KERNELS`] is the one list of them: dispatch, tests and benches go through it.

use super::pack::PANEL;
use crate::simd::{Avx2, Avx512, Isa, Neon, Scalar, Simd, SimdOp};

/// Rows of the tallest tile.
pub(crate) const MAX_ROWS: usize = 8;

/// One tile's work: `c = [c +] rows · panel [+ bias] [+ residual]`.
///
/// Additions happen in this order for every element, whatever the tile's size, so that a result does not depend on
/// where in the matrix a row lies.
pub(crate) struct Tile {
    /// `pieces` lists of `MicroKernel::rows` pointers each; piece `p` of row `r` is `rows[p * kernel.rows + r]`.
    pub(crate) rows: *const *const f32,
    /// Number of pieces that the sum is cut into.
    pub(crate) pieces: usize,
    /// Length of each piece.
    pub(crate) len: usize,
    /// The panel: `pieces * len` times 16 values.
    pub(crate) panel: *const f32,
    /// First value of the output tile.
    pub(crate) c: *mut f32,
    /// Distance between rows of the output.
    pub(crate) c_stride: usize,
    /// Add to what the output holds (a later part of the sum).
    pub(crate) accumulate: bool,
    /// 16 values to add to each row, or null.
    pub(crate) bias: *const f32,
    /// First value of a tile to add, with the output's stride, or null.
    pub(crate) residual: *const f32,
    /// Rows of the output that exist, at most the kernel's.
    pub(crate) valid_rows: usize,
    /// Columns of the output that exist, at most 16.
    pub(crate) valid_columns: usize,
}

/// A compiled micro-kernel.
pub(crate) struct MicroKernel {
    pub(crate) isa: Isa,
    /// Rows of its tile.
    pub(crate) rows: usize,
    run: unsafe fn(&Tile),
}

/// Every micro-kernel, slowest first; of one instruction set, the tallest last.
///
/// Tile sizes: AVX2 has 16 registers; 6 x 2 sums, 2 panel vectors and 1 row value use 15 of them, and 8 loads for 12
/// multiply-adds stay under the two loads a cycle. 4 x 2 sums are as many as hide the latency of a multiply-add; they fill
/// what 6 rows leave. The portable one keeps 2 rows, 8 SSE registers of sums.
///
/// AVX-512 holds a panel in one register and multiplies by a row's value straight from memory: 8 sums hide the latency of
/// two units, and 9 loads serve 8 multiply-adds. 12 rows were no faster on Zen 4, and a fifth slower where rows lie a
/// multiple of 4 KiB apart (1024 or 5120 values): they then fall into one set of L1, which has 8 ways.
/// NEON has 32 registers: 6 x 4 sums and 4 panel vectors leave 4 for row values. The 4 x 4 sums of the short one are as many
/// as four units of latency 4 need.
pub(crate) static KERNELS: &[MicroKernel] = &[
    MicroKernel { isa: Isa::Scalar, rows: 2, run: scalar_2x16 },
    MicroKernel { isa: Isa::Avx2, rows: 4, run: avx2_4x16 },
    MicroKernel { isa: Isa::Avx2, rows: 6, run: avx2_6x16 },
    MicroKernel { isa: Isa::Avx512, rows: 4, run: avx512_4x16 },
    MicroKernel { isa: Isa::Avx512, rows: 8, run: avx512_8x16 },
    MicroKernel { isa: Isa::Neon, rows: 4, run: neon_4x16 },
    MicroKernel { isa: Isa::Neon, rows: 6, run: neon_6x16 },
];

impl MicroKernel {
    /// The kernel for an instruction set.
    pub(crate) fn of(isa: Isa) -> &'static MicroKernel {
        let fits = KERNELS.iter().rfind(|kernel| kernel.isa <= isa && kernel.isa.is_available());
        fits.expect("the portable kernel is always available")
    }

    /// Computes one tile.
    ///
    /// # Safety
    /// - The CPU has the kernel's instruction set (true for what [`MicroKernel::of`] returns).
    /// - `rows` is valid for `pieces * self.rows` pointers, each valid for reads of `len` values.
    /// - `panel` is valid for reads of `pieces * len * 16` values; `bias` is null or valid for 16.
    /// - `c`, and `residual` unless null, are valid for `valid_rows` rows of `valid_columns` values, `c_stride` apart.
    #[inline]
    pub(crate) unsafe fn run(&self, tile: &Tile) {
        debug_assert!(tile.valid_rows <= self.rows && tile.valid_columns <= PANEL);
        // SAFETY: the caller's promises are those that the function needs.
        unsafe { (self.run)(tile) }
    }
}

/// The kernels of one instruction set, looked up once for many tiles.
#[derive(Clone, Copy)]
pub(crate) struct Heights {
    tall: &'static MicroKernel,
    short: &'static MicroKernel,
}

impl Heights {
    /// Those for an instruction set.
    pub(crate) fn of(isa: Isa) -> Heights {
        let tall = MicroKernel::of(isa);
        Heights { tall, short: KERNELS.iter().find(|kernel| kernel.isa == tall.isa).unwrap_or(tall) }
    }

    /// The kernel for the next tile where `left` rows remain: the tall one, unless the short one covers them with fewer
    /// rows to spare.
    #[inline]
    pub(crate) fn for_rows(&self, left: usize) -> &'static MicroKernel {
        let fits = left <= self.short.rows || (left > self.tall.rows && left <= 2 * self.short.rows);
        if fits { self.short } else { self.tall }
    }
}

unsafe fn scalar_2x16(tile: &Tile) {
    // SAFETY: the caller's promises, and 16 lanes fill a panel.
    unsafe { compute::<Scalar, 2, 16>(Scalar, tile) }
}

/// A tile of `ROWS` rows, to be compiled for an instruction set of `VECTORS` vectors a panel.
struct Op<'a, const ROWS: usize, const VECTORS: usize>(&'a Tile);

impl<const ROWS: usize, const VECTORS: usize> SimdOp for Op<'_, ROWS, VECTORS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: who makes an `Op` vouches for the tile, and runs it where `VECTORS` vectors fill a panel.
        unsafe { compute::<S, ROWS, VECTORS>(s, self.0) }
    }
}

unsafe fn avx2_4x16(tile: &Tile) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { Avx2::assume() }.run(Op::<4, 2>(tile));
}

unsafe fn avx2_6x16(tile: &Tile) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { Avx2::assume() }.run(Op::<6, 2>(tile));
}

unsafe fn avx512_4x16(tile: &Tile) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { Avx512::assume() }.run(Op::<4, 1>(tile));
}

unsafe fn avx512_8x16(tile: &Tile) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { Avx512::assume() }.run(Op::<8, 1>(tile));
}

unsafe fn neon_4x16(tile: &Tile) {
    Neon::new().expect("dispatch checked for NEON").run(Op::<4, 4>(tile));
}

unsafe fn neon_6x16(tile: &Tile) {
    Neon::new().expect("dispatch checked for NEON").run(Op::<6, 4>(tile));
}

/// The tile for `ROWS` rows and `VECTORS` vectors that together hold a panel.
///
/// # Safety
/// As for [`MicroKernel::run`], and `VECTORS * LANES` is [`PANEL`].
#[inline(always)]
unsafe fn compute<S: Simd, const ROWS: usize, const VECTORS: usize>(s: S, tile: &Tile) {
    // SAFETY: the row pointers and the panel are valid by the caller's promise.
    let sums = unsafe { multiply::<S, ROWS, VECTORS>(s, tile) };
    if tile.valid_rows == ROWS && tile.valid_columns == PANEL {
        // SAFETY: the whole tile exists.
        unsafe { finish::<S, ROWS, VECTORS>(s, tile, &sums, tile.c, tile.residual, tile.c_stride) };
        return;
    }
    // A tile over the edge: the same arithmetic in a full-size copy, of which the part that exists is kept.
    let mut c = [0f32; MAX_ROWS * PANEL];
    let mut residual = [0f32; MAX_ROWS * PANEL];
    // SAFETY: the parts copied exist, and the copies are `ROWS` rows of a panel.
    unsafe {
        if tile.accumulate {
            copy_part(tile, tile.c, tile.c_stride, c.as_mut_ptr(), PANEL);
        }
        if !tile.residual.is_null() {
            copy_part(tile, tile.residual, tile.c_stride, residual.as_mut_ptr(), PANEL);
        }
        let from = if tile.residual.is_null() { std::ptr::null() } else { residual.as_ptr() };
        finish::<S, ROWS, VECTORS>(s, tile, &sums, c.as_mut_ptr(), from, PANEL);
        copy_part(tile, c.as_ptr(), PANEL, tile.c, tile.c_stride);
    }
}

/// Copies the part of a tile that exists.
///
/// # Safety
/// - `from` and `to` are valid for `valid_rows` rows of `valid_columns` values with their strides.
#[inline(always)]
unsafe fn copy_part(tile: &Tile, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    for row in 0..tile.valid_rows {
        // SAFETY: within the rows that the caller vouches for.
        unsafe {
            let (from, to) = (from.add(row * from_stride), to.add(row * to_stride));
            std::ptr::copy_nonoverlapping(from, to, tile.valid_columns);
        }
    }
}

/// The sums of products.
///
/// # Safety
/// As for [`MicroKernel::run`].
#[inline(always)]
unsafe fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(
    s: S,
    tile: &Tile,
) -> [[S::F32; VECTORS]; ROWS] {
    let mut sums = [[s.splat(0.0); VECTORS]; ROWS];
    let mut panel = tile.panel;
    for piece in 0..tile.pieces {
        // SAFETY: the list holds `pieces * ROWS` pointers, each to `len` values; the panel `pieces * len` steps.
        unsafe {
            let list = tile.rows.add(piece * ROWS);
            let rows: [*const f32; ROWS] = std::array::from_fn(|r| *list.add(r));
            for k in 0..tile.len {
                let b: [S::F32; VECTORS] = std::array::from_fn(|v| s.load_ptr(panel.add(v * S::LANES)));
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

/// Adds what belongs to the sums and stores them as whole rows of a panel.
///
/// # Safety
/// - `c`, and `residual` unless null, are valid for `ROWS` rows of 16 values, `stride` apart; `tile.bias` as for
///   [`MicroKernel::run`].
#[inline(always)]
unsafe fn finish<S: Simd, const ROWS: usize, const VECTORS: usize>(
    s: S,
    tile: &Tile,
    sums: &[[S::F32; VECTORS]; ROWS],
    c: *mut f32,
    residual: *const f32,
    stride: usize,
) {
    for (r, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            let at = r * stride + v * S::LANES;
            let mut sum = *sum;
            // SAFETY: row r and vector v lie within what the caller vouches for.
            unsafe {
                if tile.accumulate {
                    sum = s.add(s.load_ptr(c.add(at)), sum);
                }
                if !tile.bias.is_null() {
                    sum = s.add(sum, s.load_ptr(tile.bias.add(v * S::LANES)));
                }
                if !residual.is_null() {
                    sum = s.add(sum, s.load_ptr(residual.add(at)));
                }
                s.store_ptr(c.add(at), sum);
            }
        }
    }
}
