//! Every instruction set against the three loops.

use super::*;
use crate::activation::geglu_with;
use crate::dtype::{DType, WeightBytes};
use crate::gemm::single_precision::MAX_COLUMNS;
use crate::parallel;
use crate::simd::Requires;
use crate::testing::{assert_close, random, to_bytes};
use proptest::prelude::*;
use std::sync::Arc;

mod bf16;
#[cfg(target_arch = "x86_64")]
mod bf16_packing;
mod bfdot;
mod feed_forward;
#[cfg(feature = "gpu")]
mod gpu_feed_forward;
#[cfg(feature = "gpu")]
mod gpus;
mod int8;
mod tiles;

/// A product with a weight in `dtype`, on `isa`, against the reference.
fn check(isa: Isa, dtype: DType, m: usize, n: usize, k: usize, bias: bool, residual: bool) {
    let x = random(1, m * k);
    let bytes = to_bytes(&random(2, n * k), dtype);
    let weight = WeightBytes::new(dtype, &bytes);
    let b = random(3, n);
    let r = random(4, m * n);
    let matrix = WeightMatrix::new(weight, n, k);
    assert_eq!((matrix.outputs(), matrix.inputs(), matrix.dtype()), (n, k, dtype));
    let mut out = vec![f32::NAN; m * n];
    gemm_with(isa, &x, &matrix, bias.then_some(&b[..]), residual.then_some(&r[..]), &mut out);
    let mut want = reference::gemm(&x, &weight.to_f32(), m, n, k);
    for (i, v) in want.iter_mut().enumerate() {
        *v += if bias { b[i % n] } else { 0.0 } + if residual { r[i] } else { 0.0 };
    }
    // A sum of k terms has a rounding error that grows like k for the worst, sqrt(k) for the usual case.
    assert_close(&out, &want, 3e-6 * (k as f32).sqrt(), &format!("{isa} {dtype} {m}x{n}x{k}"));
}

#[test]
fn real_shapes() {
    // Text projection, time embedding, SD 1.5 feed-forward and attention at small height, one row.
    for (m, n, k) in
        [(77, 768, 768), (2, 1280, 320), (64, 1280, 5120), (154, 320, 768), (100, 2560, 320), (1, 4, 4)]
    {
        for isa in Isa::available() {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                check(isa, dtype, m, n, k, true, false);
            }
            if k % 32 == 0 {
                check(isa, DType::Q8_0, m, n, k, true, false);
            }
        }
    }
}

/// Panels of parts, for matrices and filters, with outputs past the last.
#[test]
fn panels_hold_every_value_in_its_place() {
    let (n, k) = (37, 23);
    let eights = [(DType::F8E4M3, 1), (DType::F8E4M3, 9), (DType::F8E5M2, 4), (DType::I8, 1), (DType::I8, 9)];
    let wide = [(DType::F16, 1), (DType::BF16, 9), (DType::F32, 4), (DType::F32, 1)];
    for (dtype, taps) in wide.into_iter().chain(eights) {
        let bytes = to_bytes(&random(9, n * k * taps), dtype);
        let weight = WeightBytes::new(dtype, &bytes);
        let matrix = WeightMatrix::with_taps(weight.into(), n, k, taps);
        assert_eq!(matrix.bytes(), bytes.len());
        for isa in Isa::available() {
            for (panel, from, len) in [(0, 0, k), (1, 3, 16), (2, 0, k), (1, 22, 1), (0, 5, 9)] {
                let mut out = vec![f32::NAN; taps * len * PANEL];
                matrix.widen(isa, panel, from, len, &mut out);
                for (i, got) in out.iter().enumerate() {
                    let (tap, input, output) =
                        (i / PANEL / len, i / PANEL % len + from, panel * PANEL + i % PANEL);
                    let want = if output < n { weight.get((output * k + input) * taps + tap) } else { 0.0 };
                    assert_eq!(*got, want, "{isa} {dtype}: output {output}, input {input}, tap {tap}");
                }
            }
        }
    }
}

/// All values of an 8-bit float, and scales of rows: a panel holds each value times its row's scale, rounded once.
#[test]
fn bytes_are_widened_exactly_and_times_their_scale() {
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(20 * 256).collect();
    for dtype in [DType::F8E4M3, DType::F8E5M2, DType::I8] {
        let is_finite = |byte: u8| WeightBytes::new(dtype, &[byte]).get(0).is_finite();
        let bytes: Vec<u8> = bytes.iter().map(|byte| if is_finite(*byte) { *byte } else { 0x80 }).collect();
        let plain = Weight::new(dtype, Arc::new(bytes.clone()));
        let values = plain.view().to_f32();
        for scales in [vec![], vec![0.37], random(3, 20)] {
            let matrix = WeightMatrix::new(plain.clone().scaled(scales.clone()), 20, 256);
            for isa in Isa::available() {
                for panel in 0..2 {
                    let mut out = vec![f32::NAN; 256 * PANEL];
                    matrix.widen(isa, panel, 0, 256, &mut out);
                    for (i, got) in out.iter().enumerate() {
                        let (output, input) = (panel * PANEL + i % PANEL, i / PANEL);
                        let scale = if scales.len() > 1 { scales.get(output) } else { scales.first() };
                        let want =
                            values.get(output * 256 + input).map_or(0.0, |v| v * scale.unwrap_or(&1.0));
                        assert_eq!(
                            got.to_bits(),
                            want.to_bits(),
                            "{isa} {dtype}: {output}, {input}: {got} {want}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn several_products_at_once_are_those_one_by_one() {
    let (m, k) = (150, 70);
    let x = random(1, m * k);
    let matrix = |seed, n| {
        let bytes = to_bytes(&random(seed, n * k), DType::F16);
        WeightMatrix::new(WeightBytes::new(DType::F16, &bytes), n, k)
    };
    let (a, b) = (matrix(2, 50), matrix(3, 131));
    let (bias, residual) = (random(4, 50), random(5, m * 131));
    for isa in Isa::available() {
        let (mut out_a, mut out_b) = (vec![f32::NAN; m * 50], vec![f32::NAN; m * 131]);
        let mut products = [
            Product {
                weight: &a,
                bias: Some(&bias),
                residual: None,
                accumulate: false,
                precision: Precision::F32,
                out: &mut out_a,
            },
            Product {
                weight: &b,
                bias: None,
                residual: Some(&residual),
                accumulate: false,
                precision: Precision::F32,
                out: &mut out_b,
            },
        ];
        gemm_many_with(isa, &x, &mut products);
        let (mut want_a, mut want_b) = (out_a.clone(), out_b.clone());
        gemm_with(isa, &x, &a, Some(&bias), None, &mut want_a);
        gemm_with(isa, &x, &b, None, Some(&residual), &mut want_b);
        assert_eq!((out_a, out_b), (want_a, want_b), "{isa}");
    }
}

#[test]
fn a_product_adds_to_what_is_there() {
    let (m, n, k) = (50, 30, 800);
    let (x, bias, before) = (random(1, m * k), random(3, n), random(4, m * n));
    let bytes = to_bytes(&random(2, n * k), DType::F16);
    let weight = WeightMatrix::new(WeightBytes::new(DType::F16, &bytes), n, k);
    for isa in Isa::available() {
        let (mut out, mut want) = (before.clone(), vec![0.0; m * n]);
        let bias = Some(&bias[..]);
        let (precision, residual) = (Precision::F32, None);
        let product = Product { weight: &weight, bias, residual, accumulate: true, precision, out: &mut out };
        gemm_many_with(isa, &x, &mut [product]);
        gemm_with(isa, &x, &weight, bias, Some(&before), &mut want);
        assert_close(&out, &want, 2e-5, &format!("{isa}"));
    }
}

#[test]
fn a_gated_product_is_product_then_gate() {
    // Halves of whole panels and of none; one part of the sum and several.
    for (m, width, k) in [(100, 64, 40), (500, 48, 900), (7, 20, 30), (1, 160, 640)] {
        let (x, bias) = (random(1, m * k), random(3, 2 * width));
        let bytes = to_bytes(&random(2, 2 * width * k), DType::F16);
        let weight = WeightMatrix::new(WeightBytes::new(DType::F16, &bytes), 2 * width, k);
        for isa in Isa::available() {
            let (mut both, mut want) = (vec![0.0; m * 2 * width], vec![0.0; m * width]);
            gemm_with(isa, &x, &weight, Some(&bias), None, &mut both);
            geglu_with(isa, &both, width, &mut want);
            for threads in [1, 3] {
                let mut got = vec![f32::NAN; m * width];
                let run = || gemm_geglu_with(isa, Precision::F32, &x, &weight, Some(&bias), &mut got);
                parallel::with_threads(threads, run).unwrap();
                assert_eq!(got, want, "{isa} {m}x{width}x{k}, {threads} threads");
            }
        }
    }
}

#[test]
fn same_bytes_for_any_threads_and_any_neighbours() {
    let (m, n, k) = (211, 130, 900);
    let x = random(5, m * k);
    let bytes = to_bytes(&random(6, n * k), DType::F16);
    let matrix = WeightMatrix::new(WeightBytes::new(DType::F16, &bytes), n, k);
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for isa in Isa::available() {
        let mut all = vec![0.0; m * n];
        gemm_with(isa, &x, &matrix, None, None, &mut all);
        for threads in [1, 2, 5] {
            let mut again = vec![0.0; m * n];
            parallel::with_threads(threads, || gemm_with(isa, &x, &matrix, None, None, &mut again)).unwrap();
            assert_eq!(bits(&all), bits(&again), "{isa}, {threads} threads");
        }
        for row in [0, 1, 95, 96, 210] {
            let mut alone = vec![0.0; n];
            gemm_with(isa, &x[row * k..][..k], &matrix, None, None, &mut alone);
            assert_eq!(bits(&all[row * n..][..n]), bits(&alone), "{isa}, row {row}");
        }
    }
}

#[test]
fn every_instruction_set_has_kernels_for_any_number_of_panels_and_columns() {
    for isa in Isa::available() {
        let set = SinglePrecision::kernels(isa);
        assert_eq!((set.requires, set.rhs.width), (Requires::isa(isa), PANEL));
        assert_eq!(set.for_panels(1).columns, PANEL, "{isa}");
        for remaining in 1..10 {
            let kernel = set.for_panels(remaining);
            assert!(kernel.columns.is_multiple_of(PANEL), "{isa}: {remaining} panels");
            assert!(kernel.columns <= remaining * PANEL, "{isa}: {remaining} panels");
        }
        for columns in 1..200 {
            // They end with a panel or with the last column.
            let mut done = 0usize;
            while done < columns {
                assert!(done.is_multiple_of(PANEL), "{isa}: {columns} columns");
                done += set.for_columns(columns - done).columns;
            }
            assert!(done <= columns.next_multiple_of(PANEL), "{isa}: {columns} columns");
        }
    }
    let sets = SinglePrecision::kernel_sets();
    assert_eq!(sets[0].requires, Requires::isa(Isa::Scalar), "the first runs everywhere");
    let columns = sets.iter().flat_map(|set| set.kernels).map(|kernel| kernel.columns);
    assert_eq!(columns.max(), Some(MAX_COLUMNS));
}

#[test]
#[should_panic(expected = "not whole rows of 8")]
fn ragged_input_is_refused() {
    let matrix = WeightMatrix::new(WeightBytes::new(DType::F32, &[0; 4 * 32]), 4, 8);
    gemm(&[0.0; 9], &matrix, None, None, &mut [0.0; 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_shape(m in 1usize..140, n in 1usize..70, k in 1usize..800, bias: bool, residual: bool, d in 0usize..3) {
        let dtype = [DType::F32, DType::F16, DType::BF16][d];
        for isa in Isa::available() {
            check(isa, dtype, m, n, k, bias, residual);
        }
    }
}
