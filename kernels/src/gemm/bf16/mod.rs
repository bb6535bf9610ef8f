//! bf16 times bf16, summed in `f32`.
//!
//! Both sides are rounded to the nearest bf16, ties to even, when they are packed. A line holds 32 of them, a cache line: on
//! the left 32 terms of a row, on the right two terms of each of the 16 outputs of a panel, side by side. That is the order
//! that `VDPBF16PS` and the tiles of AMX read.
//!
//! `model` is what the instructions compute, bit for bit, and the portable kernel; the files beside it have the kernels of
//! the instructions.

#[cfg(target_arch = "x86_64")]
mod avx512;
pub(in crate::gemm) mod model;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(any(test, target_arch = "x86_64"))]
pub(in crate::gemm) mod tiles;

use super::arithmetic::{Arithmetic, KernelSetOf, Scratch};
use super::lhs::SumPart;
use super::micro::{KernelSet, MicroKernel, PanelLayout, ProductBlock};
use super::packed::{PackedTiles, TileLayout, TileSource};
use super::weight::{PANEL, WeightMatrix};
use crate::simd::{Avx2, Avx512, Feature, Isa, Requires, Scalar, Simd, SimdOp};
use std::cell::RefCell;

/// Values of a line: terms of a row, or two terms of each output of a panel.
pub(crate) const LINE: usize = 32;
/// Lines of a panel for the terms of a line.
pub(crate) const LINES_PER_STEP: usize = LINE / 2;

const _: () = assert!(LINE == 2 * PANEL);

/// The bits of 32 bf16, a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Bf16Line(pub(crate) [u16; LINE]);

/// bf16 times bf16. A tile is `[rows][steps]` lines, a panel `[steps][16]` lines.
#[derive(Debug)]
pub(crate) struct Bf16;

type Bf16Block = ProductBlock<PackedTiles<Bf16Line>, Bf16Line, f32>;
type Bf16Kernel = MicroKernel<PackedTiles<Bf16Line>, Bf16Line, f32>;

// SAFETY: the sets below name the instruction set of their kernels, the first is portable; none has more than 32 columns.
unsafe impl Arithmetic for Bf16 {
    type Lhs = PackedTiles<Bf16Line>;
    type Rhs = Bf16Line;
    type Out = f32;

    fn kernel_sets() -> &'static [KernelSetOf<Bf16>] {
        KERNEL_SETS
    }

    fn with_scratch(f: impl FnOnce(&mut Scratch<Bf16>)) {
        thread_local! {
            static SCRATCH: RefCell<Scratch<Bf16>> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(f);
    }
}

/// Every micro-kernel of bf16. Those without an instruction for it compute what `VDPBF16PS` does.
static KERNEL_SETS: &[KernelSetOf<Bf16>] = &[
    kernel_set(Requires::isa(Isa::Scalar), model::ROWS, pack_scalar, &[kernel(1, model::scalar)]),
    kernel_set(Requires::isa(Isa::Avx2), model::ROWS, pack_avx2, &[kernel(1, model::avx2)]),
    kernel_set(Requires::isa(Isa::Avx512), model::ROWS, pack_avx512, &[kernel(1, model::avx512)]),
    #[cfg(target_arch = "x86_64")]
    kernel_set(
        Requires { isa: Isa::Avx512, features: &[Feature::Avx512Bf16] },
        avx512::ROWS,
        pack_avx512,
        &[kernel(1, avx512::compute::<1>), kernel(2, avx512::compute::<2>)],
    ),
    #[cfg(target_arch = "x86_64")]
    kernel_set(
        Requires { isa: Isa::Avx512, features: &[Feature::AmxBf16] },
        tiles::ROWS,
        pack_avx512,
        &[kernel(1, tiles::compute::<tiles::Amx>), kernel(2, tiles::compute::<tiles::Amx>)],
    ),
    #[cfg(target_arch = "aarch64")]
    kernel_set(
        Requires { isa: Isa::Neon, features: &[Feature::NeonBf16] },
        neon::ROWS,
        pack_scalar,
        &[kernel(1, neon::compute)],
    ),
];

/// 24 panels of 24 KiB, beside the rows in an L2 of 1 MiB, as every CPU with one of the instructions has.
const MAX_PANELS: usize = 24;

pub(in crate::gemm) const fn kernel(panels: usize, compute: unsafe fn(&Bf16Block)) -> Bf16Kernel {
    MicroKernel { columns: panels * PANEL, compute }
}

pub(in crate::gemm) const fn kernel_set(
    requires: Requires,
    rows: usize,
    pack_lhs: unsafe fn(&TileSource<'_>, &mut [Bf16Line]),
    kernels: &'static [Bf16Kernel],
) -> KernelSetOf<Bf16> {
    KernelSet {
        requires,
        row_step: rows,
        max_panels: MAX_PANELS,
        lhs: TileLayout { rows, k_step: LINE, step_len: 1, pack_lhs },
        rhs: PanelLayout { width: PANEL, k_step: LINE, step_len: LINES_PER_STEP, pack: pack_rhs },
        kernels,
    }
}

/// The bits of the nearest bf16, ties to even. A NaN becomes a quiet one.
#[inline(always)]
pub(crate) fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    let nearest = (bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16) as u16;
    if x.is_nan() { (bits >> 16) as u16 | 0x40 } else { nearest }
}

/// The values of lines, one after the other.
#[inline(always)]
pub(crate) fn values_mut(lines: &mut [Bf16Line]) -> &mut [u16] {
    let len = lines.len() * LINE;
    // SAFETY: a line is 32 values without padding, which need less alignment.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<u16>(), len) }
}

/// Rounds the rows of a tile.
struct PackRows<'a> {
    source: &'a TileSource<'a>,
    out: &'a mut [Bf16Line],
}

impl SimdOp for PackRows<'_> {
    type Output = ();
    /// The compiler vectorizes these loops, in whichever instruction set it is compiled for.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let PackRows { source: &TileSource { pointers, rows, len }, out } = self;
        let lines = out.len() / rows;
        for (row, lines) in out.chunks_exact_mut(lines).enumerate() {
            let (mut rest, pieces) = (values_mut(lines), pointers.iter().skip(row).step_by(rows));
            for piece in pieces {
                let (to, after) = rest.split_at_mut(len);
                // SAFETY: `pack_lhs` requires each pointer to be valid for as many values.
                let from = unsafe { std::slice::from_raw_parts(*piece, len) };
                for (to, from) in to.iter_mut().zip(from) {
                    *to = round(*from);
                }
                rest = after;
            }
            rest.fill(0);
        }
    }
}

impl<'a> PackRows<'a> {
    /// # Safety
    /// - As [`TileLayout::pack_lhs`].
    unsafe fn new(source: &'a TileSource<'a>, out: &'a mut [Bf16Line]) -> PackRows<'a> {
        PackRows { source, out }
    }
}

/// # Safety
/// As [`TileLayout::pack_lhs`].
pub(in crate::gemm) unsafe fn pack_scalar(source: &TileSource<'_>, out: &mut [Bf16Line]) {
    // SAFETY: the caller's promises.
    unsafe { PackRows::new(source, out).run(Scalar) }
}

/// # Safety
/// As [`TileLayout::pack_lhs`].
unsafe fn pack_avx2(source: &TileSource<'_>, out: &mut [Bf16Line]) {
    // SAFETY: the caller guarantees the instruction set and the source.
    unsafe { Avx2::assume().run(PackRows::new(source, out)) }
}

/// # Safety
/// As [`TileLayout::pack_lhs`].
unsafe fn pack_avx512(source: &TileSource<'_>, out: &mut [Bf16Line]) {
    // SAFETY: the caller guarantees the instruction set and the source.
    unsafe { Avx512::assume().run(PackRows::new(source, out)) }
}

/// Packs a part of a panel: widened, then rounded. A weight in bf16 comes out as it is.
fn pack_rhs(isa: Isa, weight: &WeightMatrix, panel: usize, part: SumPart, out: &mut [Bf16Line]) {
    thread_local! {
        static WIDE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    WIDE.with_borrow_mut(|wide| {
        wide.resize(weight.taps() * part.len * PANEL, 0.0);
        weight.widen(isa, panel, part.from, part.len, wide);
        isa.run(PackColumns { wide: wide.as_slice(), out });
    });
}

/// Rounds terms of 16 outputs, `[terms][16]`.
pub(crate) struct PackColumns<'a> {
    pub(crate) wide: &'a [f32],
    pub(crate) out: &'a mut [Bf16Line],
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
