//! A second arithmetic through the same loops: bf16 times bf16, summed in `f32`, with a packed left side, panels half as
//! wide as those of single precision, two terms a step, and headers with a scale for each row and each output. Its kernel
//! is plain Rust; what is tested is that nothing outside an arithmetic assumes the types and layouts of single precision.

use super::*;
use crate::gemm::arithmetic::{Arithmetic, KernelSetOf, Scratch};
use crate::gemm::lhs::{LhsRows, SumPart};
use crate::gemm::micro::{KernelSet, MicroKernel, PanelLayout, ProductBlock};
use crate::gemm::packed::{PackedTiles, TileLayout, TileSource};
use crate::simd::{Feature, Requires};
use half::bf16;
use std::cell::RefCell;

// Rows of a tile, outputs of a panel, terms of a step.
const TILE: usize = 4;
const WIDTH: usize = 8;
const STEP: usize = 2;

struct Bf16Product;

// SAFETY: the kernels are plain Rust, have 8 and 24 columns, and stay within the block and the layouts below.
unsafe impl Arithmetic for Bf16Product {
    type Lhs = PackedTiles<bf16>;
    type Rhs = bf16;
    type Out = f32;

    fn kernel_sets() -> &'static [KernelSetOf<Bf16Product>] {
        SETS
    }

    fn with_scratch(f: impl FnOnce(&mut Scratch<Bf16Product>)) {
        thread_local! {
            static SCRATCH: RefCell<Scratch<Bf16Product>> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(f);
    }
}

/// A feature that the CPUs of this build never have.
const FOREIGN: &[Feature] =
    if cfg!(target_arch = "aarch64") { &[Feature::Avx512Bf16] } else { &[Feature::NeonBf16] };

static SETS: &[KernelSetOf<Bf16Product>] =
    &[set(Requires::isa(Isa::Scalar), KERNELS), set(Requires { isa: Isa::Scalar, features: FOREIGN }, NEVER)];

static KERNELS: &[MicroKernel<PackedTiles<bf16>, bf16, f32>] = &[
    MicroKernel { columns: WIDTH, compute: multiply },
    MicroKernel { columns: 3 * WIDTH, compute: multiply },
];
static NEVER: &[MicroKernel<PackedTiles<bf16>, bf16, f32>] =
    &[MicroKernel { columns: WIDTH, compute: never }];

const fn set(
    requires: Requires,
    kernels: &'static [MicroKernel<PackedTiles<bf16>, bf16, f32>],
) -> KernelSetOf<Bf16Product> {
    KernelSet {
        requires,
        row_step: TILE,
        lhs: TileLayout { rows: TILE, k_step: STEP, header: TILE, pack_lhs },
        rhs: PanelLayout { width: WIDTH, k_step: STEP, header: WIDTH, pack: pack_rhs },
        kernels,
    }
}

/// A scale that some values are divided by: a power of two, so that it changes no digits.
fn scale_of(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0f32, |max, v| max.max(v.abs())).max(1e-6).log2().ceil().exp2()
}

/// # Safety
/// As [`TileLayout::pack_lhs`].
unsafe fn pack_lhs(source: &TileSource<'_>, out: &mut [bf16]) {
    let (header, terms) = out.split_at_mut(TILE);
    for (r, header) in header.iter_mut().enumerate() {
        let rows = source.pointers.iter().skip(r).step_by(TILE);
        // SAFETY: each pointer is valid for `len` values.
        let values = || rows.clone().flat_map(|row| (0..source.len).map(move |i| unsafe { *row.add(i) }));
        let scale = scale_of(values());
        *header = bf16::from_f32(scale);
        for (term, value) in values().enumerate() {
            terms[(term / STEP * TILE + r) * STEP + term % STEP] = bf16::from_f32(value / scale);
        }
    }
}

fn pack_rhs(isa: Isa, weight: &WeightMatrix, panel: usize, part: SumPart, out: &mut [bf16]) {
    let mut wide = vec![0.0; weight.taps() * part.len * PANEL];
    let first = panel * WIDTH;
    weight.widen(isa, first / PANEL, part.from, part.len, &mut wide);
    let (header, terms) = out.split_at_mut(WIDTH);
    terms.fill(bf16::ZERO);
    for (o, header) in header.iter_mut().enumerate() {
        let values = || wide.chunks_exact(PANEL).map(|values| values[first % PANEL + o]);
        let scale = scale_of(values());
        *header = bf16::from_f32(scale);
        for (term, value) in values().enumerate() {
            terms[(term / STEP * WIDTH + o) * STEP + term % STEP] = bf16::from_f32(value / scale);
        }
    }
}

/// # Safety
/// As [`MicroKernel::run`].
unsafe fn multiply(block: &ProductBlock<PackedTiles<bf16>, bf16, f32>) {
    let terms = (block.lhs.tile_stride - TILE) / TILE;
    for row in 0..block.row_count {
        for column in 0..block.columns {
            // SAFETY: the tile of the row, the panel of the column and the place in the output exist by the caller's promise.
            unsafe {
                let a = block.lhs.tiles.add(row / TILE * block.lhs.tile_stride);
                let b = block.panel.add(column / WIDTH * block.panel_stride);
                let mut sum = 0.0;
                for term in 0..terms {
                    let at = |rows, r| (term / STEP * rows + r) * STEP + term % STEP;
                    let (a, b) =
                        (a.add(TILE + at(TILE, row % TILE)), b.add(WIDTH + at(WIDTH, column % WIDTH)));
                    sum += (*a).to_f32() * (*b).to_f32();
                }
                sum *= (*a.add(row % TILE)).to_f32() * (*b.add(column % WIDTH)).to_f32();
                let at = row * block.c_stride + column;
                if block.accumulate {
                    sum += *block.c.add(at);
                }
                if !block.bias.is_null() {
                    sum += *block.bias.add(column);
                }
                if !block.residual.is_null() {
                    sum += *block.residual.add(at);
                }
                *block.c.add(at) = sum;
            }
        }
    }
}

/// # Safety
/// None: it panics.
unsafe fn never(_: &ProductBlock<PackedTiles<bf16>, bf16, f32>) {
    panic!("a kernel for another CPU");
}

/// Rows `[m, taps, inputs]`, each tap a segment.
struct Taps<'a> {
    x: &'a [f32],
    taps: usize,
    inputs: usize,
}

// SAFETY: `pointer` slices `x`, so it is valid for the inputs of a tap, or panics.
unsafe impl LhsRows for Taps<'_> {
    fn segments(&self) -> usize {
        self.taps
    }
    fn segment_len(&self) -> usize {
        self.inputs
    }
    fn pointer(&self, row: usize, tap: usize) -> *const f32 {
        self.x[(row * self.taps + tap) * self.inputs..][..self.inputs].as_ptr()
    }
}

fn rounded(x: &[f32]) -> Vec<f32> {
    x.iter().map(|v| bf16::from_f32(*v).to_f32()).collect()
}

/// A product of `m` rows of `inputs` values in each of some taps, with bias and residual, added to what is there.
fn check(m: usize, n: usize, inputs: usize, taps: usize) {
    let k = inputs * taps;
    let x = random(1, m * k);
    let bytes = to_bytes(&random(2, n * k), DType::F32);
    let weight = WeightBytes::new(DType::F32, &bytes);
    let matrix = WeightMatrix::with_taps(weight.into(), n, inputs, taps);
    let (bias, residual, before) = (random(3, n), random(4, m * n), random(5, m * n));
    // The weight [n, inputs, taps] in the order of the rows, [n, taps, inputs].
    let values = rounded(&weight.to_f32());
    let ordered: Vec<f32> =
        (0..n * k).map(|i| values[i / k * k + i % inputs * taps + i % k / inputs]).collect();
    let mut want = reference::gemm(&rounded(&x), &ordered, m, n, k);
    for (i, v) in want.iter_mut().enumerate() {
        *v += bias[i % n] + residual[i] + before[i];
    }
    for isa in Isa::available() {
        for threads in [1, 3] {
            let mut out = before.clone();
            let factor = Factor {
                weight: &matrix,
                bias: Some(&bias),
                residual: Some(&residual),
                accumulate: true,
                gated: false,
                out: &mut out,
            };
            let rows = Taps { x: &x, taps, inputs };
            parallel::with_threads(threads, || {
                product::<Bf16Product, _>(isa, &rows, m, &mut [factor]);
            })
            .unwrap();
            let what = format!("{isa} {m}x{n}x{inputs}x{taps}, {threads} threads");
            assert_close(&out, &want, 3e-6 * (k as f32).sqrt(), &what);
        }
    }
}

#[test]
fn products_with_a_packed_left_side() {
    // One part of the sum and several, odd numbers of terms, rows and columns that do not fill tiles.
    for (m, n, inputs, taps) in [
        (1, 1, 1, 1),
        (5, 8, 7, 1),
        (100, 37, 130, 1),
        (97, 50, 4001, 1),
        (64, 24, 96, 9),
        (13, 20, 33, 3),
        (200, 9, 1001, 2),
    ] {
        check(m, n, inputs, taps);
    }
}

#[test]
fn gated_products_with_a_packed_left_side() {
    let (m, width, k) = (101, 3 * WIDTH, 77);
    let x = random(1, m * k);
    let bytes = to_bytes(&random(2, 2 * width * k), DType::BF16);
    let weight = WeightBytes::new(DType::BF16, &bytes);
    let matrix = WeightMatrix::new(weight, 2 * width, k);
    let both = reference::gemm(&rounded(&x), &weight.to_f32(), m, 2 * width, k);
    let (mut out, mut want) = (vec![f32::NAN; m * width], vec![0.0; m * width]);
    geglu_with(Isa::Scalar, &both, width, &mut want);
    let (weight, out_slice) = (&matrix, &mut out[..]);
    let factor =
        Factor { weight, bias: None, residual: None, accumulate: false, gated: true, out: out_slice };
    product::<Bf16Product, _>(Isa::best(), &MatrixRows::new(&x, k), m, &mut [factor]);
    assert_close(&out, &want, 1e-4, "gated");
}

#[test]
fn a_set_is_selected_only_where_its_features_are_available() {
    for isa in Isa::available() {
        let selected = Bf16Product::kernels(isa);
        assert!(selected.requires.features.is_empty(), "{isa}");
        let sets = [
            set(Requires::isa(Isa::Scalar), KERNELS),
            set(Requires { isa, features: &[] }, KERNELS),
            set(Requires { isa, features: FOREIGN }, NEVER),
        ];
        assert_eq!(KernelSet::select(&sets, isa).requires, Requires::isa(isa));
        assert_eq!(KernelSet::select(&sets, Isa::Scalar).requires.isa, Isa::Scalar);
    }
    for feature in Feature::ALL.iter().filter(|feature| feature.is_available()) {
        let features = std::slice::from_ref(feature);
        let isa = Isa::available().last().unwrap();
        let sets = [set(Requires::isa(Isa::Scalar), KERNELS), set(Requires { isa, features }, KERNELS)];
        assert_eq!(KernelSet::select(&sets, isa).requires.features, features);
        assert!(
            KernelSet::select(&sets, Isa::Scalar).requires.features.is_empty(),
            "{feature} with a lower set"
        );
    }
}
