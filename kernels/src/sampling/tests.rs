use super::*;
use proptest::prelude::*;

#[test]
fn sums_are_rounded_once() {
    let mut out = [0.0];
    // In `f32` the one would be lost.
    linear_combination(&[(1.0, &[1e9]), (1.0, &[1.0]), (-1.0, &[1e9])], &mut out);
    assert_eq!(out, [1.0]);
}

#[test]
fn what_is_masked_is_replaced() {
    let mut x = [1.0, 2.0, 3.0];
    select(&[1.0, 0.0, 0.5], &mut x, &[7.0, 8.0, 9.0]);
    assert_eq!(x, [1.0, 8.0, 3.0]);
}

proptest! {
    #[test]
    fn one_value_that_is_not_finite_is_found(len in 1_usize..300, at in any::<prop::sample::Index>()) {
        let mut x = vec![f32::MAX; len];
        prop_assert!(all_finite(&x));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            x[at.index(len)] = bad;
            prop_assert!(!all_finite(&x));
        }
    }
}

#[cfg(feature = "gpu")]
mod gpus {
    use super::super::gpu;
    use super::*;
    use crate::DType;
    use crate::gpu::Array;
    use crate::gpu::testing::gpus;
    use crate::testing::{assert_close, random};

    /// Tails of vectors, and more values than a binding of 16 KiB holds or all threads look at once.
    const LENGTHS: [usize; 6] = [1, 6, 1000, 4097, 20_011, 300_000];

    #[test]
    fn sums_of_any_number_of_terms() {
        for (name, gpu) in gpus() {
            for len in LENGTHS {
                let values: Vec<Vec<f32>> = (0..8).map(|seed| random(seed, len)).collect();
                let arrays: Vec<Array> =
                    values.iter().map(|values| Array::upload(&gpu, DType::F32, values).unwrap()).collect();
                for count in [1, 2, 3, 4, 5, 7, 8] {
                    let factor = |i: usize| (i as f64 - 2.3) * 0.7;
                    let terms: Vec<(f64, &[f32])> =
                        (0..count).map(|i| (factor(i), values[i].as_slice())).collect();
                    let mut want = vec![0.0; len];
                    linear_combination(&terms, &mut want);
                    let terms: Vec<(f64, &Array)> = (0..count).map(|i| (factor(i), &arrays[i])).collect();
                    let mut out = Array::scratch(&gpu, DType::F32, len).unwrap();
                    gpu::linear_combination(&terms, &mut out).unwrap();
                    assert_close(&out.read().unwrap(), &want, 1e-5, &format!("{name} {len} {count}"));
                }
            }
        }
    }

    #[test]
    fn a_term_that_is_not_there_is_not_read() {
        for (name, gpu) in gpus() {
            let x = Array::upload(&gpu, DType::F32, &[f32::MAX, 1.0]).unwrap();
            let mut out = Array::scratch(&gpu, DType::F32, 2).unwrap();
            gpu::linear_combination(&[(1.0, &x)], &mut out).unwrap();
            assert_eq!(out.read().unwrap(), [f32::MAX, 1.0], "{name}");
        }
    }

    #[test]
    fn a_mask_selects() {
        for (name, gpu) in gpus() {
            for len in LENGTHS {
                let mask: Vec<f32> = (0..len).map(|i| if i % 3 == 0 { 0.0 } else { 1.0 }).collect();
                let (mut x, other) = (random(1, len), random(2, len));
                let [mask_array, mut x_array, other_array] =
                    [&mask, &x, &other].map(|values| Array::upload(&gpu, DType::F32, values).unwrap());
                gpu::select(&mask_array, &mut x_array, &other_array).unwrap();
                select(&mask, &mut x, &other);
                assert_eq!(x_array.read().unwrap(), x, "{name} {len}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_found_wherever_it_is() {
        for (name, gpu) in gpus() {
            for len in LENGTHS {
                let plain = random(1, len);
                let is_finite = |values: &[f32]| {
                    let array = Array::upload(&gpu, DType::F32, values).unwrap();
                    gpu::all_finite(&array).unwrap().finish().unwrap()
                };
                assert!(is_finite(&plain), "{name} {len}");
                assert!(is_finite(&vec![-f32::MAX; len]), "{name} {len}");
                for at in [0, len / 2, len - 1] {
                    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                        let mut values = plain.clone();
                        values[at] = bad;
                        assert!(!is_finite(&values), "{name} {len} {at} {bad}");
                    }
                }
            }
        }
    }

    /// A check is about what the array held when it began, and waits for nothing that came later.
    #[test]
    fn a_check_is_of_its_own_moment() {
        for (name, gpu) in gpus() {
            let mut x = Array::upload(&gpu, DType::F32, &[1.0; 100]).unwrap();
            let before = gpu::all_finite(&x).unwrap();
            let bad = Array::upload(&gpu, DType::F32, &[f32::NAN; 100]).unwrap();
            gpu::linear_combination(&[(1.0, &bad)], &mut x).unwrap();
            let waits = gpu.waits();
            let after = gpu::all_finite(&x).unwrap();
            assert!(before.finish().unwrap() && !after.finish().unwrap(), "{name}");
            assert_eq!(gpu.waits(), waits, "{name}");
        }
    }

    #[test]
    fn rows_are_selected() {
        for (name, gpu) in gpus() {
            for width in [1, 6, 8, 5000] {
                let x = random(1, 5 * width);
                for rows in [&[0, 1, 2, 3, 4][..], &[0, 0], &[3, 4, 1, 2, 2], &[4]] {
                    let want: Vec<f32> =
                        rows.iter().flat_map(|row| x[row * width..][..width].to_vec()).collect();
                    let array = Array::upload(&gpu, DType::F32, &x).unwrap();
                    let mut out = Array::scratch(&gpu, DType::F32, want.len()).unwrap();
                    gpu::index_select(&array, width, rows, &mut out).unwrap();
                    assert_eq!(out.read().unwrap(), want, "{name} {width} {rows:?}");
                }
            }
        }
    }
}
