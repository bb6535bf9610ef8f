//! bf16 on every set of kernels that the CPU has, against its model and against sums in `f64`.

use super::*;
use crate::gemm::bf16::model::{fused, value};
use crate::gemm::bf16::pack::round;
use crate::gemm::bf16::{Bf16Line, LINE};
use crate::gemm::lhs::LhsRows;
use crate::gemm::micro::{KernelSet, ProductBlock};
use crate::gemm::packed::PackedTiles;
use crate::simd::Feature;
use half::bf16;

/// Rows `[m, taps, inputs]`, each tap a segment.
pub(super) struct Taps<'a> {
    pub(super) x: &'a [f32],
    pub(super) taps: usize,
    pub(super) inputs: usize,
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

/// A generator of bits (xorshift).
pub(super) struct RandomBits(pub(super) u64);

impl RandomBits {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A bf16 of one of several kinds: usual values; products near the smallest normal `f32`; denormals; sums that overflow;
    /// any bits; infinities and NaN among usual values.
    pub(super) fn bf16(&mut self, kind: u64) -> u16 {
        let bits = self.next();
        let with_exponent =
            |from: u64, count: u64| (bits & 0x807F) as u16 | (((from + (bits >> 32) % count) as u16) << 7);
        match kind {
            0 => with_exponent(120, 12),
            1 => with_exponent(58, 10),
            2 => with_exponent(0, 3),
            3 => with_exponent(188, 5),
            4 => [20, 63, 64, 107, 52][(bits >> 32) as usize % 5] << 7 | (bits & 0x8040) as u16,
            5 => bits as u16,
            _ if (bits >> 20).is_multiple_of(97) => {
                with_exponent(255, 1) & if bits >> 19 & 1 == 0 { 0xFF80 } else { !0 }
            }
            _ => with_exponent(124, 6),
        }
    }
}

/// The number of random tiles: `LATENT_TILES`, for instance a million, or a few.
pub(super) fn tiles() -> usize {
    std::env::var("LATENT_TILES").ok().and_then(|n| n.parse().ok()).unwrap_or(4000)
}

#[test]
fn bf16_instructions_and_their_model_give_the_same_bits() {
    const ROWS: usize = 8;
    let sets = Bf16::kernel_sets().iter();
    let sets: Vec<_> =
        sets.filter(|set| set.requires.is_met(Isa::best()) && !has_its_own_order(set)).collect();
    let mut bits = RandomBits(0x9E37_79B9_7F4A_7C15);
    for tile in 0..tiles() {
        let kind = tile as u64 % 7;
        let mut line = || Bf16Line(std::array::from_fn(|_| bits.bf16(kind)));
        let rows: Vec<_> = (0..ROWS).map(|_| line()).collect();
        let panel: Vec<_> = (0..PANEL).map(|_| line()).collect();
        let want: Vec<f32> = (0..ROWS * PANEL)
            .map(|i| {
                let (a, b) = (&rows[i / PANEL].0, |pair: usize, j| value(panel[pair].0[i % PANEL * 2 + j]));
                (0..PANEL).fold(0.0, |sum, pair| {
                    let second = fused(value(a[2 * pair + 1]), b(pair, 1), sum);
                    fused(value(a[2 * pair]), b(pair, 0), second)
                })
            })
            .collect();
        for set in &sets {
            let got = one_tile(set, &rows, &panel);
            for (got, want) in got.iter().zip(&want) {
                let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
                assert!(same, "{:?}, tile {tile}: {got:e}, want {want:e}", set.requires);
            }
        }
    }
}

/// Whether a set of kernels adds in another order than `VDPBF16PS`.
fn has_its_own_order(set: &KernelSet<PackedTiles<Bf16Line>, Bf16Line, f32>) -> bool {
    [Feature::AmxBf16, Feature::NeonBf16].iter().any(|feature| set.requires.features.contains(feature))
}

/// Some rows of one line each times a panel.
pub(super) fn one_tile(
    set: &KernelSet<PackedTiles<Bf16Line>, Bf16Line, f32>,
    rows: &[Bf16Line],
    panel: &[Bf16Line],
) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows.len() * PANEL];
    assert!(rows.len().is_multiple_of(set.lhs.rows));
    let block = ProductBlock {
        lhs: PackedTiles { tiles: rows.as_ptr(), tile_stride: set.lhs.rows, terms: LINE },
        row_count: rows.len(),
        panel: panel.as_ptr(),
        panel_stride: panel.len(),
        c: out.as_mut_ptr(),
        c_stride: PANEL,
        accumulate: false,
        bias: std::ptr::null(),
        residual: std::ptr::null(),
        columns: PANEL,
        prefetch: false,
    };
    // SAFETY: the set's requirements are met; whole tiles of one line, a panel of one line, and an output as large.
    unsafe { set.for_panels(1).run(&block) };
    out
}

/// The rules that the model follows, each where it matters.
#[test]
fn the_model_of_bf16_flushes_rounds_once_and_keeps_the_order() {
    let smallest = f32::MIN_POSITIVE;
    let half = 2f32.powi(-63);
    assert_eq!(fused(half, half, 0.0), smallest);
    assert_eq!(fused(half, -half / 2.0, 0.0).to_bits(), (-0f32).to_bits(), "a denormal result");
    // A quarter of a denormal unit below the smallest normal value rounds to it, half a unit does not.
    let below = |exponent: i32| fused(2f32.powi(exponent), -2f32.powi(-75), smallest);
    assert_eq!(below(-76), smallest);
    assert_eq!(below(-75), 0.0);
    assert_eq!((value(0x0001), value(0x8001).to_bits()), (0.0, (-0f32).to_bits()), "denormal inputs");
    // The product has 16 bits, the sum is rounded once.
    let (a, c) = (1.0 + 2f32.powi(-7), 2f32.powi(24));
    assert_eq!(fused(a, a, c), c + 2.0);
    assert!(fused(f32::INFINITY, 0.0, 1.0).is_nan());
}

#[test]
fn values_are_rounded_to_the_nearest_bf16() {
    let mut bits = RandomBits(7);
    for _ in 0..100_000 {
        let x = f32::from_bits(bits.next() as u32);
        assert_eq!(round(x), bf16::from_f32(x).to_bits(), "{x:e}");
    }
    for bits in [0x3F80_8000, 0x3F81_8000, 0x7F7F_FFFF, 0x7F80_0001, 0xFFFF_FFFF, 0x7F80_0000] {
        assert_eq!(round(f32::from_bits(bits)), bf16::from_f32(f32::from_bits(bits)).to_bits(), "{bits:x}");
    }
}

/// The weight `[n, inputs, taps]` in the order of the rows, `[n, taps, inputs]`.
pub(super) fn in_order_of_rows(values: &[f32], inputs: usize, taps: usize) -> Vec<f32> {
    let k = inputs * taps;
    (0..values.len()).map(|i| values[i / k * k + i % inputs * taps + i % k / inputs]).collect()
}

/// Against sums in `f64`: both sides are rounded to 8 bits, each term of the sum once more to 24. And against the sums of the
/// rounded values, where only those of 24 bits remain.
pub(super) fn check_bf16<A: Arithmetic<Out = f32>>(m: usize, n: usize, inputs: usize, taps: usize) {
    let k = inputs * taps;
    let x = random(1, m * k);
    let dtype = [DType::F16, DType::BF16, DType::F32][(m + n) % 3];
    let bytes = to_bytes(&random(2, n * k), dtype);
    let weight = WeightBytes::new(dtype, &bytes);
    let matrix = WeightMatrix::with_taps(weight.into(), n, inputs, taps);
    let (bias, residual, before) = (random(3, n), random(4, m * n), random(5, m * n));
    let ordered = in_order_of_rows(&weight.to_f32(), inputs, taps);
    let rounded = |x: &[f32]| x.iter().map(|v| bf16::from_f32(*v).to_f32()).collect::<Vec<_>>();
    let mut close = reference::gemm(&rounded(&x), &rounded(&ordered), m, n, k);
    close.iter_mut().enumerate().for_each(|(i, v)| *v += bias[i % n] + residual[i] + before[i]);
    for isa in Isa::available() {
        let mut first: Option<Vec<u32>> = None;
        for threads in [1, 2, 3] {
            let mut out = before.clone();
            let (bias, residual) = (Some(&bias[..]), Some(&residual[..]));
            let (accumulate, end, out_slice) = (true, FactorEnd::Sums, &mut out[..]);
            let factor = Factor { weight: &matrix, bias, residual, accumulate, end, out: out_slice };
            let rows = Taps { x: &x, taps, inputs };
            parallel::with_threads(threads, || product::<A, _>(isa, &rows, m, &mut [factor])).unwrap();
            let what = format!("{isa} {m}x{n}x{inputs}x{taps}, {threads} threads");
            assert_close(&out, &close, 3e-6 * (k as f32).sqrt(), &what);
            let bits: Vec<u32> = out.iter().map(|v| v.to_bits()).collect();
            assert_eq!(*first.get_or_insert_with(|| bits.clone()), bits, "{what}");
            for (i, got) in out.iter().enumerate() {
                let terms = x[i / n * k..][..k].iter().zip(&ordered[i % n * k..][..k]);
                let terms = terms.map(|(a, b)| f64::from(*a) * f64::from(*b));
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), v| (sum + v, size + v.abs()));
                let added = bias.map_or(0.0, |b| f64::from(b[i % n])) + f64::from(before[i]);
                let want = sum + added + residual.map_or(0.0, |r| f64::from(r[i]));
                let bound = size * (2f64.powi(-8) + 2f64.powi(-18) + k as f64 * 2f64.powi(-24)) + 1e-6;
                assert!((f64::from(*got) - want).abs() <= bound, "{what}: {got}, want {want}");
            }
        }
    }
}

/// Shapes with one part of the sum and several, odd numbers of terms, rows and columns that do not fill tiles.
pub(super) const SHAPES: &[(usize, usize, usize, usize)] = &[
    (1, 1, 1, 1),
    (5, 8, 7, 1),
    (100, 37, 130, 1),
    (33, 50, 2001, 1),
    (64, 24, 96, 9),
    (13, 20, 33, 3),
    (120, 9, 301, 2),
];

#[test]
fn bf16_products_are_within_the_bound_of_their_rounding() {
    for (m, n, inputs, taps) in SHAPES {
        check_bf16::<Bf16>(*m, *n, *inputs, *taps);
    }
}

/// Rows alone have the bits that they have among others; every instruction set but the tiles has the same.
#[test]
fn bf16_products_have_the_same_bits_alone_and_on_each_instruction_set() {
    let (m, n, k) = (101, 70, 900);
    let x = random(5, m * k);
    let bytes = to_bytes(&random(6, n * k), DType::F16);
    let matrix = WeightMatrix::new(WeightBytes::new(DType::F16, &bytes), n, k);
    let run = |isa, x: &[f32]| {
        let mut out = vec![f32::NAN; x.len() / k * n];
        let (precision, out_slice) = (Precision::Bf16, &mut out[..]);
        let (bias, residual, accumulate) = (None, None, false);
        let product = Product { weight: &matrix, bias, residual, accumulate, precision, out: out_slice };
        gemm_many_with(isa, x, &mut [product]);
        out.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    };
    let scalar = run(Isa::Scalar, &x);
    for isa in Isa::available() {
        let all = run(isa, &x);
        assert!(has_its_own_order(Bf16::kernels(isa)) || all == scalar, "{isa}");
        for row in [0, 1, 7, 8, 95, 96, 100] {
            assert_eq!(all[row * n..][..n], run(isa, &x[row * k..][..k]), "{isa}, row {row}");
        }
    }
}

#[test]
fn a_gated_product_in_bf16_is_product_then_gate() {
    for (m, width, k) in [(101, 48, 77), (7, 20, 30), (40, 416, 64)] {
        let (x, bias) = (random(1, m * k), random(3, 2 * width));
        let bytes = to_bytes(&random(2, 2 * width * k), DType::BF16);
        let weight = WeightMatrix::new(WeightBytes::new(DType::BF16, &bytes), 2 * width, k);
        let (precision, bias) = (Precision::Bf16, Some(&bias[..]));
        for isa in Isa::available() {
            let (mut both, mut want) = (vec![0.0; m * 2 * width], vec![0.0; m * width]);
            let (residual, accumulate, out) = (None, false, &mut both[..]);
            let product = Product { weight: &weight, bias, residual, accumulate, precision, out };
            gemm_many_with(isa, &x, &mut [product]);
            geglu_with(isa, &both, width, &mut want);
            let mut got = vec![f32::NAN; m * width];
            gemm_geglu_with(isa, precision, &x, &weight, bias, &mut got);
            assert_eq!(got, want, "{isa} {m}x{width}x{k}");
        }
    }
}

#[test]
fn a_set_of_kernels_is_selected_only_where_its_features_are_available() {
    for isa in Isa::available() {
        let selected = Bf16::kernels(isa);
        assert!(selected.requires.is_met(isa), "{isa}: {:?}", selected.requires);
    }
    assert!(Bf16::kernels(Isa::Scalar).requires.features.is_empty());
    if Feature::Avx512Bf16.is_available() && Isa::Avx512.is_available() {
        assert!(!Bf16::kernels(Isa::Avx512).requires.features.is_empty());
    }
}
