//! 8-bit integers: weights in Q8_0, activations quantized a row and block of 32 terms at a time.
//!
//! A block of a row times a block of an output is an exact integer. Times both scales it is added to the sum in `f32`, block
//! after block, by one fused multiply-add: `sum = fma(integer, scale of the row * scale of the output, sum)`. So every set of
//! kernels gives the same bits.
//!
//! Weights in Q8_0 are used as they are. Others are quantized when they are packed, and so are activations: the scale is
//! `max |x| / 127` of the block, in `f32`. Where a value is infinite or NaN, so are the sums of its row or output.
//!
//! `VPDPBUSD` multiplies unsigned by signed bytes, of which it takes the latter from memory, four for all lanes. So weights
//! are stored plus 128, and each sum of a block starts at -128 times the sum of the row's values.

#[cfg(target_arch = "aarch64")]
mod neon;
pub(super) mod pack;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vnni;

use super::arithmetic::{Arithmetic, KernelSetOf, Scratch};
use super::micro::{KernelSet, MicroKernel, PanelLayout, ProductBlock};
use super::packed::{PackedTiles, TileLayout, TileSource};
use super::weight::PANEL;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::simd::Feature;
use crate::simd::{Isa, Requires};
use latent_dtype::block::{BlockFormat, Q8_0};
use std::cell::RefCell;

/// Terms of a block.
pub(super) const BLOCK: usize = Q8_0::BLOCK;
/// Neighbouring terms that an instruction adds up.
const GROUP: usize = 4;
/// Groups of a block.
const GROUPS: usize = BLOCK / GROUP;
/// What is added to a quantized weight, to make it unsigned.
const OFFSET: i32 = 128;
/// Largest magnitude of a quantized value.
const MAX_BYTE: f32 = Q8_0::MAX_BYTE;

/// A block of a row.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct RowBlock {
    scale: f32,
    /// Minus [`OFFSET`] times the sum of the values.
    start: i32,
    values: [i8; BLOCK],
}

/// A block of the 16 outputs of a panel.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct PanelBlock {
    scales: [f32; PANEL],
    /// Plus [`OFFSET`], four terms of each output side by side.
    values: [[[u8; GROUP]; PANEL]; GROUPS],
}

/// 8-bit integers. A tile is `[rows][blocks]`, a panel `[blocks]`.
#[derive(Debug)]
pub(crate) struct Int8;

type Int8Block = ProductBlock<PackedTiles<RowBlock>, PanelBlock, f32>;
type Int8Kernel = MicroKernel<PackedTiles<RowBlock>, PanelBlock, f32>;

// SAFETY: the sets below name the instruction set of their kernels, the first is portable; all have 16 columns.
unsafe impl Arithmetic for Int8 {
    type Lhs = PackedTiles<RowBlock>;
    type Rhs = PanelBlock;
    type Out = f32;

    fn kernel_sets() -> &'static [KernelSetOf<Int8>] {
        KERNEL_SETS
    }

    fn with_scratch(f: impl FnOnce(&mut Scratch<Int8>)) {
        thread_local! {
            static SCRATCH: RefCell<Scratch<Int8>> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(f);
    }
}

/// Every micro-kernel of 8-bit integers.
static KERNEL_SETS: &[KernelSetOf<Int8>] = &[
    kernel_set(Requires::isa(Isa::Scalar), portable::ROWS, pack::scalar, &[kernel(portable::scalar)]),
    kernel_set(Requires::isa(Isa::Avx2), portable::ROWS, pack::avx2, &[kernel(portable::avx2)]),
    #[cfg(target_arch = "x86_64")]
    kernel_set(
        Requires { isa: Isa::Avx2, features: &[Feature::AvxVnni] },
        vnni::AVX_ROWS,
        pack::avx2,
        &[kernel(vnni::avx)],
    ),
    #[cfg(target_arch = "x86_64")]
    kernel_set(
        Requires { isa: Isa::Avx512, features: &[Feature::Avx512Vnni] },
        vnni::AVX512_ROWS,
        pack::avx512,
        &[kernel(vnni::avx512)],
    ),
    #[cfg(target_arch = "aarch64")]
    kernel_set(
        Requires { isa: Isa::Neon, features: &[Feature::NeonDotProd] },
        neon::ROWS,
        pack::scalar,
        &[kernel(neon::compute)],
    ),
];

/// 24 panels of 24 KiB, beside the rows in an L2 of 1 MiB or more. A row is quantized for each task anew, which costs about
/// as much as a product with two panels.
const MAX_PANELS: usize = 24;

const fn kernel(compute: unsafe fn(&Int8Block)) -> Int8Kernel {
    MicroKernel { columns: PANEL, compute }
}

const fn kernel_set(
    requires: Requires,
    rows: usize,
    pack_lhs: unsafe fn(&TileSource<'_>, &mut [RowBlock]),
    kernels: &'static [Int8Kernel],
) -> KernelSetOf<Int8> {
    KernelSet {
        requires,
        row_step: rows,
        max_panels: MAX_PANELS,
        shares_panels: false,
        lhs: TileLayout { rows, k_step: BLOCK, step_len: 1, pack_lhs },
        rhs: PanelLayout { width: PANEL, k_step: BLOCK, step_len: 1, pack: pack::panel },
        kernels,
    }
}
