//! 8-bit integers: every set of kernels that the CPU has gives the same bits, within the bound of the quantization.

use super::*;
use crate::gemm::arithmetic::KernelSetOf;
use crate::gemm::int8::{BLOCK, Int8};
use crate::gemm::lhs::{LeftSide, SumPart};
use crate::gemm::micro::ProductBlock;

fn run(isa: Isa, x: &[f32], weight: &WeightMatrix) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / weight.inputs() * weight.outputs()];
    let (precision, bias, residual, accumulate) = (Precision::Int8, None, None, false);
    let product = Product { weight, bias, residual, accumulate, precision, out: &mut out };
    gemm_many_with(isa, x, &mut [product]);
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A product by one set of kernels, its sum in one part.
fn by_set(set: &KernelSetOf<Int8>, x: &[f32], weight: &WeightMatrix) -> Vec<f32> {
    let (n, k) = (weight.outputs(), weight.inputs());
    let m = x.len() / k;
    let (part, mut buffer) = (SumPart { from: 0, len: k }, Default::default());
    let lhs = LeftSide::prepare(&set.lhs, &MatrixRows::new(x, k), 0..m, part, &mut buffer);
    let mut out = vec![f32::NAN; m * n];
    let mut packed = vec![Default::default(); set.rhs.len(k)];
    for panel in 0..n.div_ceil(PANEL) {
        (set.rhs.pack)(Isa::best(), weight, panel, part, &mut packed);
        let block = ProductBlock {
            lhs,
            row_count: m,
            panel: packed.as_ptr(),
            panel_stride: packed.len(),
            c: out[panel * PANEL..].as_mut_ptr(),
            c_stride: n,
            accumulate: false,
            bias: std::ptr::null(),
            residual: std::ptr::null(),
            columns: PANEL.min(n - panel * PANEL),
            prefetch: false,
        };
        // SAFETY: the set's requirements are met; rows and panel were packed for it; the columns are in the output.
        unsafe { set.for_panels(1).run(&block) };
    }
    out
}

fn matrix(dtype: DType, values: &[f32], n: usize) -> WeightMatrix {
    WeightMatrix::new(WeightBytes::new(dtype, &to_bytes(values, dtype)), n, values.len() / n)
}

#[test]
fn all_kernels_of_8_bit_integers_give_the_same_bits() {
    for tile in 0..super::bf16::tiles() / 100 {
        let (m, n, k) = (1 + tile % 31, 1 + tile % 35, 32 * (1 + tile % 7));
        let x = random(tile as u64, m * k);
        // Values of many magnitudes, and the extremes of a byte.
        let x: Vec<_> = x.iter().enumerate().map(|(i, x)| x * 10f32.powi(i as i32 / 50 % 9 - 4)).collect();
        let dtype = [DType::Q8_0, DType::F16, DType::F32][tile % 3];
        let weight = matrix(dtype, &random(!(tile as u64), n * k), n);
        let want = bits(&run(Isa::Scalar, &x, &weight));
        for set in Int8::kernel_sets().iter().filter(|set| set.requires.is_met(Isa::best())) {
            assert_eq!(bits(&by_set(set, &x, &weight)), want, "{:?} {m}x{n}x{k} {dtype}", set.requires);
        }
    }
}

/// Against sums in `f64`. Each side is off by half a scale: of a block of a row, and of a block of an output.
#[test]
fn products_of_8_bit_integers_are_within_the_bound_of_the_quantization() {
    for (m, n, k) in [(1, 1, 1), (7, 20, 33), (50, 37, 320), (13, 16, 1300), (97, 24, 64)] {
        let x = random(1, m * k);
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::Q8_0] {
            if dtype == DType::Q8_0 && k % BLOCK != 0 {
                continue;
            }
            let bytes = to_bytes(&random(2, n * k), dtype);
            let values = WeightBytes::new(dtype, &bytes).to_f32();
            let weight = WeightMatrix::new(WeightBytes::new(dtype, &bytes), n, k);
            let scale = |block: &[f32]| {
                f64::from(block.iter().fold(0f32, |max, v| max.max(v.abs()))) / 127.0 * (1.0 + 2f64.powi(-11))
            };
            for isa in Isa::available() {
                for (i, got) in run(isa, &x, &weight).iter().enumerate() {
                    let (row, output) = (&x[i / n * k..][..k], &values[i % n * k..][..k]);
                    let (mut sum, mut bound) = (0.0, 1e-5);
                    for (row, output) in row.chunks(BLOCK).zip(output.chunks(BLOCK)) {
                        let (row_half, half) = (scale(row) / 2.0, scale(output) / 2.0);
                        for (a, b) in row.iter().zip(output) {
                            let (a, b) = (f64::from(*a), f64::from(*b));
                            sum += a * b;
                            bound += a.abs() * half + (b.abs() + half) * row_half;
                        }
                    }
                    let what = format!("{isa} {dtype} {m}x{n}x{k}");
                    assert!((f64::from(*got) - sum).abs() <= bound, "{what}: {got}, want {sum} +- {bound}");
                }
            }
        }
    }
}

#[test]
fn rows_of_whole_bytes_times_q8_0_are_exact() {
    let (m, n, k) = (30, 40, 640);
    let mut x: Vec<f32> = random(3, m * k).iter().map(|x| (x * 127.0).round()).collect();
    x.chunks_exact_mut(BLOCK).for_each(|block| block[5] = -127.0);
    let bytes = to_bytes(&random(4, n * k), DType::Q8_0);
    let weight = WeightBytes::new(DType::Q8_0, &bytes);
    let want = reference::gemm(&x, &weight.to_f32(), m, n, k);
    for isa in Isa::available() {
        let got = run(isa, &x, &WeightMatrix::new(weight, n, k));
        assert_close(&got, &want, 2e-3, &format!("{isa}"));
    }
}

#[test]
fn products_of_8_bit_integers_have_the_same_bytes_for_any_threads_and_alone() {
    let (m, n, k) = (211, 130, 1400);
    let x = random(5, m * k);
    let weight = matrix(DType::F16, &random(6, n * k), n);
    let all = bits(&run(Isa::Scalar, &x, &weight));
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            let got = parallel::with_threads(threads, || run(isa, &x, &weight)).unwrap();
            assert_eq!(bits(&got), all, "{isa}, {threads} threads");
        }
        for row in [0, 11, 12, 95, 96, 210] {
            let alone = run(isa, &x[row * k..][..k], &weight);
            assert_eq!(bits(&alone), all[row * n..][..n], "{isa}, row {row}");
        }
    }
}

#[test]
fn a_value_that_is_not_finite_reaches_the_sums_of_its_row() {
    let (m, n, k) = (5, 20, 96);
    let weight = matrix(DType::Q8_0, &random(2, n * k), n);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = random(1, m * k);
        x[2 * k + 40] = value;
        for isa in Isa::available() {
            let out = run(isa, &x, &weight);
            for (row, sums) in out.chunks_exact(n).enumerate() {
                assert!(sums.iter().all(|sum| sum.is_finite() == (row != 2)), "{isa}, {value}, row {row}");
            }
        }
    }
}

#[test]
fn a_gated_product_of_8_bit_integers_is_product_then_gate() {
    for (m, width, k) in [(101, 48, 77), (7, 20, 64)] {
        let x = random(1, m * k);
        let weight = matrix(DType::F16, &random(2, 2 * width * k), 2 * width);
        for isa in Isa::available() {
            let mut want = vec![0.0; m * width];
            geglu_with(isa, &run(isa, &x, &weight), width, &mut want);
            let mut got = vec![f32::NAN; m * width];
            gemm_geglu_with(isa, Precision::Int8, &x, &weight, None, &mut got);
            assert_eq!(got, want, "{isa} {m}x{width}x{k}");
        }
    }
}
