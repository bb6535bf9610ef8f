//! The kernel of AMX on a model of the tiles, wherever the tests run, and the model against the CPU where it has them.

use super::bf16::{SHAPES, check_bf16};
use super::*;
use crate::gemm::arithmetic::{KernelSetOf, Scratch};
use crate::gemm::bf16::model::{flushed, fused, value};
use crate::gemm::bf16::tiles::{MAX_PANELS, ROWS, TILE_ROWS, TileJob, TileUnit, compute};
use crate::gemm::bf16::{Bf16Line, MAX_PANELS_OF_AMX, PORTABLE, Packing, kernel, kernel_set, pack};
use crate::gemm::micro::MicroKernel;
use crate::gemm::packed::PackedTiles;
use std::cell::RefCell;

/// Eight tiles of 16 rows of 64 bytes, and the instructions on them.
struct TileModel([[[u8; 64]; TILE_ROWS]; 8]);

impl TileModel {
    fn zero(&mut self, tile: usize) {
        self.0[tile] = [[0; 64]; TILE_ROWS];
    }

    /// `TILELOADD`.
    ///
    /// # Safety
    /// - 16 rows of 64 bytes, `stride` bytes apart, are valid for reads.
    unsafe fn load(&mut self, tile: usize, from: *const u8, stride: usize) {
        for (r, row) in self.0[tile].iter_mut().enumerate() {
            // SAFETY: the caller's.
            *row = unsafe { from.add(r * stride).cast::<[u8; 64]>().read() };
        }
    }

    /// `TILESTORED`.
    ///
    /// # Safety
    /// - 16 rows of 64 bytes, `stride` bytes apart, are valid for writes.
    unsafe fn store(&self, tile: usize, to: *mut u8, stride: usize) {
        for (r, row) in self.0[tile].iter().enumerate() {
            // SAFETY: the caller's.
            unsafe { to.add(r * stride).cast::<[u8; 64]>().write(*row) };
        }
    }

    fn bf16(&self, tile: usize, row: usize, at: usize) -> f32 {
        let row = &self.0[tile][row];
        value(u16::from_le_bytes([row[2 * at], row[2 * at + 1]]))
    }

    /// `TDPBF16PS`: the first values of all pairs have a sum of their own, and so have the second ones. Then these two are
    /// added, and their sum to the tile.
    fn dot(&mut self, to: usize, a: usize, b: usize) {
        for m in 0..TILE_ROWS {
            for n in 0..16 {
                let mut sums = [0f32; 2];
                for k in 0..16 {
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = fused(self.bf16(a, m, 2 * k + i), self.bf16(b, k, 2 * n + i), *sum);
                    }
                }
                let place = &mut self.0[to][m][4 * n..][..4];
                let old = flushed(f32::from_le_bytes([place[0], place[1], place[2], place[3]]));
                place.copy_from_slice(&flushed(old + flushed(sums[0] + sums[1])).to_le_bytes());
            }
        }
    }
}

/// The steps of the assembly, on the model.
struct ModelTiles;

impl TileUnit for ModelTiles {
    const ISA: Isa = Isa::Scalar;

    unsafe fn configure() {}

    unsafe fn release() {}

    unsafe fn run(job: &TileJob) {
        let mut tiles = TileModel([[[0; 64]; TILE_ROWS]; 8]);
        let [left, right] = job.panels.map(<*const Bf16Line>::cast::<u8>);
        for group in 0..job.groups {
            (0..4).for_each(|tile| tiles.zero(tile));
            // SAFETY: the caller guarantees the rows, the panels and the sums.
            unsafe {
                let rows = job.rows.cast::<u8>().add(group * job.steps * 2048);
                for step in 0..job.steps {
                    tiles.load(4, rows.add(step * 2048), 64);
                    tiles.load(5, rows.add(step * 2048 + 1024), 64);
                    tiles.load(6, left.add(step * 1024), 64);
                    tiles.load(7, right.add(step * 1024), 64);
                    for (c, a, b) in [(0, 4, 6), (1, 4, 7), (2, 5, 6), (3, 5, 7)] {
                        tiles.dot(c, a, b);
                    }
                }
                let sums = job.sums.cast::<u8>().add(group * ROWS * job.sums_stride);
                let second = TILE_ROWS * job.sums_stride;
                for (tile, at) in [0, 64, second, second + 64].into_iter().enumerate() {
                    tiles.store(tile, sums.add(at), job.sums_stride);
                }
            }
        }
    }
}

/// bf16 on the model of the tiles.
struct Bf16OnModelTiles;

static SETS: &[KernelSetOf<Bf16OnModelTiles>] = &[kernel_set(
    Requires::isa(Isa::Scalar),
    ROWS,
    Packing { rows: pack::steps_scalar, max_panels: MAX_PANELS_OF_AMX, ahead: true, ..PORTABLE },
    KERNELS,
)];
static KERNELS: &[MicroKernel<PackedTiles<Bf16Line>, Bf16Line, f32>] = &[
    kernel(1, compute::<ModelTiles>),
    kernel(2, compute::<ModelTiles>),
    kernel(MAX_PANELS, compute::<ModelTiles>),
];

// SAFETY: the kernels need nothing of the CPU, have at most 128 columns, and use the layouts of bf16.
unsafe impl Arithmetic for Bf16OnModelTiles {
    type Lhs = PackedTiles<Bf16Line>;
    type Rhs = Bf16Line;
    type Out = f32;

    fn kernel_sets() -> &'static [KernelSetOf<Bf16OnModelTiles>] {
        SETS
    }

    fn with_scratch(f: impl FnOnce(&mut Scratch<Bf16OnModelTiles>)) {
        thread_local! {
            static SCRATCH: RefCell<Scratch<Bf16OnModelTiles>> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(f);
    }
}

#[test]
fn the_kernel_of_tiles_on_their_model_is_within_the_bound_of_bf16() {
    for (m, n, inputs, taps) in SHAPES {
        check_bf16::<Bf16OnModelTiles>(*m, *n, *inputs, *taps);
    }
}

/// The order of the additions in `TDPBF16PS`: not that of `VDPBF16PS`.
#[test]
fn a_dot_product_of_tiles_adds_first_and_second_values_apart() {
    let mut tiles = TileModel([[[0; 64]; TILE_ROWS]; 8]);
    let large = 2f32.powi(30);
    let line = |values: &[f32]| {
        let mut line = [0u8; 64];
        for (i, v) in values.iter().enumerate() {
            line[2 * i..][..2].copy_from_slice(&half::bf16::from_f32(*v).to_le_bytes());
        }
        line
    };
    tiles.0[0][0] = line(&[large, 1.0, -large, 1.0]);
    tiles.0[1][0] = line(&[1.0, 1.0]);
    tiles.0[1][1] = line(&[1.0, 1.0]);
    tiles.dot(2, 0, 1);
    assert_eq!(tiles.0[2][0][..4], 2f32.to_le_bytes(), "one after the other, both ones would be lost");
}

/// The CPU, where it has tiles.
#[cfg(target_arch = "x86_64")]
mod cpu {
    use super::*;
    use crate::gemm::bf16::tiles::{Amx, WIDTH};
    use crate::gemm::bf16::{LINE, LINES_PER_STEP};
    use crate::gemm::tests::bf16::{RandomBits, tiles};
    use crate::simd::Feature;

    /// The sums of some groups of rows, `width` apart.
    fn sums_of<U: TileUnit>(
        rows: &[Bf16Line],
        panels: &[Vec<Bf16Line>; 2],
        (groups, steps, width): (usize, usize, usize),
    ) -> Vec<f32> {
        let mut sums = vec![f32::NAN; groups * ROWS * width];
        let job = TileJob {
            rows: rows.as_ptr(),
            groups,
            panels: [panels[0].as_ptr(), panels[1].as_ptr()],
            steps,
            sums: sums.as_mut_ptr(),
            sums_stride: width * size_of::<f32>(),
        };
        // SAFETY: the CPU has the tiles; rows, panels and sums are as long as the job says.
        unsafe {
            U::configure();
            U::run(&job);
            U::release();
        }
        sums
    }

    #[test]
    fn tiles_of_the_cpu_and_their_model_give_the_same_bits() {
        if !Feature::AmxBf16.is_available() {
            println!("this CPU has no AMX: not tested");
            return;
        }
        let mut bits = RandomBits(0x9E37_79B9_7F4A_7C15);
        for tile in 0..tiles().div_ceil(8) {
            let (groups, steps) = (1 + tile % 3, 1 + tile % 5);
            let mut lines = |n: usize| -> Vec<Bf16Line> {
                (0..n).map(|_| Bf16Line(std::array::from_fn(|_| bits.bf16(tile as u64 % 7)))).collect()
            };
            let rows = lines(groups * ROWS * steps);
            let panels = [lines(steps * LINES_PER_STEP), lines(steps * LINES_PER_STEP)];
            assert_eq!(rows[0].0.len(), LINE);
            let width = WIDTH + tile % 4;
            let job = (groups, steps, width);
            let got = sums_of::<Amx>(&rows, &panels, job);
            for (got, want) in got.iter().zip(sums_of::<ModelTiles>(&rows, &panels, job)) {
                let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
                assert!(same, "tile {tile}: {got:e}, want {want:e}");
            }
        }
    }
}
