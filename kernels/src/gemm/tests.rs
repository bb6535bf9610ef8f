//! Every instruction set against the three loops.

use super::*;
use crate::dtype::{DType, WeightBytes};
use crate::parallel;
use crate::testing::{assert_close, random, to_bytes};
use proptest::prelude::*;

/// A product with a weight in `dtype`, on `isa`, against the reference.
fn check(isa: Isa, dtype: DType, m: usize, n: usize, k: usize, bias: bool, residual: bool) {
    let x = random(1, m * k);
    let bytes = to_bytes(&random(2, n * k), dtype);
    let weight = WeightBytes::new(dtype, &bytes);
    let b = random(3, n);
    let r = random(4, m * n);
    let packed = PackedMatrix::new(weight, n, k);
    assert_eq!((packed.outputs(), packed.inputs(), packed.dtype()), (n, k, dtype));
    let mut out = vec![f32::NAN; m * n];
    gemm_with(isa, &x, &packed, bias.then_some(&b[..]), residual.then_some(&r[..]), &mut out);
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
        }
    }
}

#[test]
fn packing_keeps_every_value() {
    let bytes = to_bytes(&random(9, 37 * 23), DType::F16);
    let weight = WeightBytes::new(DType::F16, &bytes);
    let packed = PackedMatrix::new(weight, 37, 23);
    assert_eq!(packed.bytes(), 48 * 23 * 2);
    for i in 0..37 {
        for j in 0..23 {
            assert_eq!(packed.get(i, j), weight.get(i * 23 + j));
        }
    }
}

#[test]
fn same_bytes_for_any_threads_and_any_neighbours() {
    let (m, n, k) = (211, 130, 900);
    let x = random(5, m * k);
    let bytes = to_bytes(&random(6, n * k), DType::F16);
    let packed = PackedMatrix::new(WeightBytes::new(DType::F16, &bytes), n, k);
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for isa in Isa::available() {
        let mut all = vec![0.0; m * n];
        gemm_with(isa, &x, &packed, None, None, &mut all);
        for threads in [1, 2, 5] {
            let mut again = vec![0.0; m * n];
            parallel::with_threads(threads, || gemm_with(isa, &x, &packed, None, None, &mut again)).unwrap();
            assert_eq!(bits(&all), bits(&again), "{isa}, {threads} threads");
        }
        for row in [0, 1, 95, 96, 210] {
            let mut alone = vec![0.0; n];
            gemm_with(isa, &x[row * k..][..k], &packed, None, None, &mut alone);
            assert_eq!(bits(&all[row * n..][..n]), bits(&alone), "{isa}, row {row}");
        }
    }
}

#[test]
#[should_panic(expected = "no rows of 8")]
fn ragged_input_is_refused() {
    let packed = PackedMatrix::new(WeightBytes::new(DType::F32, &[0; 4 * 32]), 4, 8);
    gemm(&[0.0; 9], &packed, None, None, &mut [0.0; 4]);
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
