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
pub(in crate::gemm) mod pack;
#[cfg(target_arch = "x86_64")]
pub(in crate::gemm) mod pack_avx512;
#[cfg(any(test, target_arch = "x86_64"))]
pub(in crate::gemm) mod tiles;

use super::arithmetic::{Arithmetic, KernelSetOf, Scratch};
use super::lhs::SumPart;
use super::micro::{KernelSet, MicroKernel, PanelLayout, ProductBlock};
use super::packed::{PackedTiles, TileLayout, TileSource};
use super::weight::{PANEL, WeightMatrix};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::simd::Feature;
use crate::simd::{Isa, Requires};
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

/// bf16 times bf16. A tile is `[rows][steps]` lines, for the tiles of AMX `[steps][rows]`; a panel `[steps][16]` lines.
#[derive(Debug)]
pub(crate) struct Bf16;

type Bf16Block = ProductBlock<PackedTiles<Bf16Line>, Bf16Line, f32>;
type Bf16Kernel = MicroKernel<PackedTiles<Bf16Line>, Bf16Line, f32>;

// SAFETY: the sets below name the instruction set of their kernels, the first is portable; none has more than 128 columns.
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
    kernel_set(Requires::isa(Isa::Scalar), model::ROWS, PORTABLE, &[kernel(1, model::scalar)]),
    kernel_set(
        Requires::isa(Isa::Avx2),
        model::ROWS,
        Packing { rows: pack::rows_avx2, ..PORTABLE },
        &[kernel(1, model::avx2)],
    ),
    kernel_set(
        Requires::isa(Isa::Avx512),
        model::ROWS,
        Packing { rows: pack::rows_avx512, ..PORTABLE },
        &[kernel(1, model::avx512)],
    ),
    #[cfg(target_arch = "x86_64")]
    kernel_set(
        ROUNDS_LINES,
        avx512::ROWS,
        Packing { rows: pack_avx512::by_row, panel: pack_avx512::panel, ..PORTABLE },
        &[kernel(1, avx512::compute::<1>), kernel(2, avx512::compute::<2>)],
    ),
    #[cfg(target_arch = "x86_64")]
    kernel_set(
        Requires { isa: Isa::Avx512, features: &[Feature::AmxBf16, Feature::Avx512Bf16] },
        tiles::ROWS,
        Packing {
            rows: pack_avx512::by_step,
            panel: pack_avx512::panel,
            max_panels: MAX_PANELS_OF_AMX,
            ahead: true,
        },
        &[
            kernel(1, tiles::compute::<tiles::Amx>),
            kernel(2, tiles::compute::<tiles::Amx>),
            kernel(4, tiles::compute::<tiles::Amx>),
            kernel(tiles::MAX_PANELS, tiles::compute::<tiles::Amx>),
        ],
    ),
    #[cfg(target_arch = "aarch64")]
    kernel_set(
        Requires { isa: Isa::Neon, features: &[Feature::NeonBf16] },
        neon::ROWS,
        PORTABLE,
        &[kernel(1, neon::compute)],
    ),
];

/// A CPU that rounds lines itself; its products take denormals for zero, as that does.
#[cfg(target_arch = "x86_64")]
const ROUNDS_LINES: Requires = Requires { isa: Isa::Avx512, features: &[Feature::Avx512Bf16] };

/// How both sides are packed.
#[derive(Clone, Copy)]
pub(in crate::gemm) struct Packing {
    /// [`TileLayout::pack_lhs`], and what it requires.
    pub(in crate::gemm) rows: unsafe fn(&TileSource<'_>, &mut [Bf16Line]),
    /// [`PanelLayout::pack`]
    pub(in crate::gemm) panel: fn(Isa, &WeightMatrix, usize, SumPart, &mut [Bf16Line]),
    /// [`KernelSet::max_panels`]
    pub(in crate::gemm) max_panels: usize,
    /// [`KernelSet::shares_panels`]
    pub(in crate::gemm) ahead: bool,
}

/// For every CPU.
pub(in crate::gemm) const PORTABLE: Packing =
    Packing { rows: pack::rows_scalar, panel: pack::panel, max_panels: MAX_PANELS, ahead: false };

/// 24 panels of 24 KiB, beside the rows in an L2 of 1 MiB, as every CPU with one of the instructions has.
const MAX_PANELS: usize = 24;
/// CPUs with AMX have an L2 of 2 MiB; of fewer tasks, fewer pack the same rows.
#[cfg(any(test, target_arch = "x86_64"))]
pub(in crate::gemm) const MAX_PANELS_OF_AMX: usize = 48;

pub(in crate::gemm) const fn kernel(panels: usize, compute: unsafe fn(&Bf16Block)) -> Bf16Kernel {
    MicroKernel { columns: panels * PANEL, compute }
}

pub(in crate::gemm) const fn kernel_set(
    requires: Requires,
    rows: usize,
    packing: Packing,
    kernels: &'static [Bf16Kernel],
) -> KernelSetOf<Bf16> {
    KernelSet {
        requires,
        row_step: rows,
        max_panels: packing.max_panels,
        shares_panels: packing.ahead,
        lhs: TileLayout { rows, k_step: LINE, step_len: 1, pack_lhs: packing.rows },
        rhs: PanelLayout { width: PANEL, k_step: LINE, step_len: LINES_PER_STEP, pack: packing.panel },
        kernels,
    }
}

/// Packs a panel of `[terms][16]` values.
pub(crate) fn pack_panel(isa: Isa, wide: &[f32], out: &mut [Bf16Line]) {
    #[cfg(target_arch = "x86_64")]
    if ROUNDS_LINES.is_met(isa) {
        // SAFETY: the CPU has the instructions.
        return unsafe { pack_avx512::columns(wide, out) };
    }
    isa.run(pack::PackColumns { wide, out });
}

/// Packs a panel of `[16][terms]` values.
pub(crate) fn pack_outputs(isa: Isa, outputs: &[f32], out: &mut [Bf16Line]) {
    let terms = outputs.len() / PANEL;
    #[cfg(target_arch = "x86_64")]
    if ROUNDS_LINES.is_met(isa) && terms.is_multiple_of(LINE) {
        // SAFETY: the CPU has the instructions.
        return unsafe { pack_avx512::outputs(outputs, out) };
    }
    let mut wide = vec![0.0; outputs.len()];
    for (output, values) in outputs.chunks_exact(terms).enumerate() {
        wide.iter_mut().skip(output).step_by(PANEL).zip(values).for_each(|(to, from)| *to = *from);
    }
    pack_panel(isa, &wide, out);
}
