//! Against the specifications, long enough for several threads.

use super::*;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

#[test]
fn sums_and_multiples_of_every_value() {
    let n = 3 * parallel::GRAIN + 5;
    let (a, b) = (random(1, n), random(2, n));
    let mut sum = a.clone();
    add_assign(&mut sum, &b);
    assert!((0..n).all(|i| sum[i] == a[i] + b[i]));
    scale(&mut sum, 0.5);
    assert!((0..n).all(|i| sum[i] == (a[i] + b[i]) * 0.5));
}

#[test]
fn guidance_of_one_and_more() {
    let mut out = [0.0; 2];
    guidance(&[1.0, 2.0], &[3.0, -2.0], 1.0, &mut out);
    assert_eq!(out, [3.0, -2.0]);
    guidance(&[1.0, 2.0], &[3.0, -2.0], 7.5, &mut out);
    assert_eq!(out, [16.0, -28.0]);
}

#[test]
#[should_panic(expected = "different lengths")]
fn lengths_are_checked() {
    add_assign(&mut [0.0; 2], &[0.0; 3]);
}

proptest! {
    #[test]
    fn channels(batch in 1usize..4, positions in 1usize..200, a in 1usize..150, b in 1usize..150) {
        let (x, y, v) = (random(1, batch * positions * a), random(2, batch * positions * b), random(3, batch * a));
        let mut shifted = x.clone();
        add_per_channel(&mut shifted, &v, batch, a);
        prop_assert_eq!(shifted, reference::add_per_channel(&x, &v, batch, a));
        let mut joined = vec![f32::NAN; x.len() + y.len()];
        concat_channels(&x, a, &y, b, &mut joined);
        prop_assert_eq!(&joined, &reference::concat_channels(&x, a, &y, b));
        // Slices are the inverse of a join.
        for (part, want) in [(0..a, &x), (a..a + b, &y)] {
            let mut got = vec![f32::NAN; want.len()];
            slice_channels(&joined, a + b, part, &mut got);
            prop_assert_eq!(&got, want);
        }
    }

    #[test]
    fn slopes_of_channels(positions in 0usize..200, channels in 1usize..150) {
        let (x, slopes) = (random(1, positions * channels), random(2, channels));
        let mut got = x.clone();
        prelu(&mut got, &slopes);
        prop_assert_eq!(got, reference::prelu(&x, &slopes));
    }

    #[test]
    fn attention_without_parameters(n in 0usize..3000) {
        let (a, b): (Vec<f32>, _) = (random(1, n).iter().map(|v| 9.0 * v).collect(), random(2, n));
        let want = reference::parameter_free_attention(&a, &b);
        for isa in Isa::available() {
            let mut got = a.clone();
            parameter_free_attention_with(isa, &mut got, &b);
            assert_close(&got, &want, 1e-5, &format!("{isa} {n}"));
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let mut x = [f32::NAN; 6];
    prelu(&mut x, &[0.1, -2.0]);
    assert!(x.iter().all(|x| x.is_nan()));
    parameter_free_attention(&mut x, &[1.0; 6]);
    assert!(x.iter().all(|x| x.is_nan()));
}

#[cfg(feature = "gpu")]
mod gpus {
    use super::*;
    use crate::DType;
    use crate::gpu::testing::{check, gpus};
    use crate::gpu::{Array, Gpu};

    const LENGTHS: [usize; 6] = [0, 1, 6, 1000, 4097, 20_011];

    /// Numbers that `f16` holds too, as do their sums.
    fn short(seed: u64, n: usize) -> Vec<f32> {
        random(seed, n).iter().map(|v| (v * 256.0).round() / 64.0).collect()
    }

    fn halves(gpu: &Gpu) -> Vec<DType> {
        if gpu.has_f16() { vec![DType::F32, DType::F16] } else { vec![DType::F32] }
    }

    #[test]
    fn sums_and_multiples() {
        for (name, gpu) in gpus() {
            for n in LENGTHS {
                let (a, b) = (random(1, n), random(2, n));
                let want: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (a + b) * 0.5).collect();
                check(&gpu, &[&a, &b], &want, 1e-6, &format!("{name} {n}"), |arrays| {
                    let mut x = arrays[0].clone();
                    gpu::add_assign(&mut x, &arrays[1])?;
                    gpu::scale(&mut x, 0.5)?;
                    Ok(x)
                });
            }
        }
    }

    #[test]
    fn guided() {
        for (name, gpu) in gpus() {
            for half in LENGTHS {
                let x = random(1, 2 * half);
                let mut want = vec![0.0; half];
                guidance(&x[..half], &x[half..], 7.5, &mut want);
                check(&gpu, &[&x], &want, 1e-5, &format!("{name} {half}"), |arrays| {
                    let mut out = Array::scratch(&gpu, arrays[0].dtype(), half)?;
                    gpu::guidance(&arrays[0], 7.5, &mut out)?;
                    Ok(out)
                });
            }
        }
    }

    #[test]
    fn conversions() {
        for (name, gpu) in gpus() {
            for n in LENGTHS {
                let mut x = short(1, n);
                // The least numbers and the largest of `f16`.
                x.iter_mut().zip([6.103_515_6e-5, -65504.0, 5.960_464_5e-8]).for_each(|(x, v)| *x = v);
                for from in [DType::F32, DType::F16] {
                    for to in halves(&gpu) {
                        if from == to && !halves(&gpu).contains(&from) {
                            continue;
                        }
                        let array = Array::upload(&gpu, from, &x).unwrap();
                        let mut out = Array::scratch(&gpu, to, n).unwrap();
                        gpu::convert(&array, &mut out).unwrap();
                        assert_eq!(out.read().unwrap(), x, "{name} {n} {from} to {to}");
                    }
                }
            }
        }
    }

    #[test]
    fn copies() {
        for (name, gpu) in gpus() {
            for n in LENGTHS {
                for times in [0, 1, 2, 3] {
                    let x = short(1, n);
                    let want = x.repeat(times);
                    check(&gpu, &[&x], &want, 0.0, &format!("{name} {times} x {n}"), |arrays| {
                        let mut out = Array::scratch(&gpu, arrays[0].dtype(), want.len())?;
                        gpu::repeat(&arrays[0], times, &mut out)?;
                        Ok(out)
                    });
                }
            }
        }
    }

    #[test]
    fn vectors_of_channels() {
        let cases = [
            (2, 64, 320),
            (1, 300, 64),
            (3, 7, 37),
            (5, 1, 1280),
            (2, 0, 4),
            (0, 3, 4),
            (4, 5, 1),
            (7, 100, 30),
        ];
        for (name, gpu) in gpus() {
            for (batch, positions, channels) in cases {
                let (x, v) = (random(1, batch * positions * channels), random(2, batch * channels));
                let want =
                    if x.is_empty() { vec![] } else { reference::add_per_channel(&x, &v, batch, channels) };
                let what = format!("{name} {batch}x{positions}x{channels}");
                check(&gpu, &[&x, &v], &want, 0.0, &what, |arrays| {
                    let mut x = arrays[0].clone();
                    gpu::add_per_channel(&mut x, &arrays[1], batch, channels)?;
                    Ok(x)
                });
                check(&gpu, &[&x], &want, 0.0, &what, |arrays| {
                    let mut x = arrays[0].clone();
                    let vector = Array::upload(&gpu, DType::F32, &v)?;
                    gpu::add_per_channel(&mut x, &vector, batch, channels)?;
                    Ok(x)
                });
            }
        }
    }

    #[test]
    fn slopes() {
        for (name, gpu) in gpus() {
            for (positions, channels) in [(64, 64), (7, 37), (0, 4), (100, 30)] {
                let (x, slopes) = (random(1, positions * channels), random(2, channels));
                let want = reference::prelu(&x, &slopes);
                let what = format!("{name} {positions}x{channels}");
                check(&gpu, &[&x], &want, 1e-6, &what, |arrays| {
                    let mut x = arrays[0].clone();
                    gpu::prelu(&mut x, &Array::upload(&gpu, DType::F32, &slopes)?)?;
                    Ok(x)
                });
            }
        }
    }

    #[test]
    fn attended() {
        for (name, gpu) in gpus() {
            for n in LENGTHS {
                let (a, b): (Vec<f32>, _) = (random(1, n).iter().map(|v| 9.0 * v).collect(), random(2, n));
                let want = reference::parameter_free_attention(&a, &b);
                check(&gpu, &[&a, &b], &want, 1e-5, &format!("{name} {n}"), |arrays| {
                    let mut x = arrays[0].clone();
                    gpu::parameter_free_attention(&mut x, &arrays[1])?;
                    Ok(x)
                });
            }
        }
    }

    #[test]
    fn joined() {
        let cases = [
            (128, 320, 320),
            (64, 1280, 640),
            (50, 64, 12),
            (33, 5, 8),
            (33, 8, 5),
            (9, 1, 1),
            (1, 4, 4),
            (0, 4, 4),
        ];
        for (name, gpu) in gpus() {
            for (positions, a, b) in cases {
                let (x, y) = (random(1, positions * a), random(2, positions * b));
                let want = reference::concat_channels(&x, a, &y, b);
                check(&gpu, &[&x, &y], &want, 0.0, &format!("{name} {positions} {a} {b}"), |arrays| {
                    let mut out = Array::scratch(&gpu, arrays[0].dtype(), want.len())?;
                    gpu::concat_channels(&arrays[0], a, &arrays[1], b, &mut out)?;
                    Ok(out)
                });
            }
        }
    }

    /// Also pixels that are larger than a binding of the second GPU.
    #[test]
    fn slices() {
        for (name, gpu) in gpus() {
            for (positions, channels, part) in [
                (3, 8, 4..8),
                (100, 37, 5..9),
                (0, 4, 0..4),
                (2, 9000, 100..8900),
                (3, 7001, 1..6000),
                (1, 1, 0..1),
            ] {
                let x: Vec<f32> = (0..positions * channels).map(|i| (i % 2048) as f32).collect();
                let of = |pixel: &[f32]| pixel[part.clone()].to_vec();
                let want: Vec<f32> = x.chunks_exact(channels).flat_map(of).collect();
                check(
                    &gpu,
                    &[&x],
                    &want,
                    0.0,
                    &format!("{name} {positions} {channels} {part:?}"),
                    |arrays| {
                        let mut out = Array::scratch(&gpu, arrays[0].dtype(), want.len())?;
                        gpu::slice_channels(&arrays[0], channels, part.clone(), &mut out)?;
                        Ok(out)
                    },
                );
            }
        }
    }
}
