//! Every instruction set against the specification in `f64`.

use super::*;
use crate::parallel;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

fn inputs(shape: GroupNormParams, mean: f32) -> [Vec<f32>; 3] {
    let x = random(1, shape.batch * shape.positions * shape.channels).iter().map(|v| v + mean).collect();
    [x, random(2, shape.channels), random(3, shape.channels)]
}

fn check(shape: GroupNormParams, mean: f32, tolerance: f32) {
    let [x, weight, bias] = inputs(shape, mean);
    let want = reference::group_norm(shape, &x, &weight, &bias);
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; x.len()];
        group_norm_with(isa, shape, &x, &weight, &bias, &mut out);
        assert_close(&out, &want, tolerance, &format!("{isa} {shape:?} mean {mean}"));
    }
}

fn shape(batch: usize, positions: usize, channels: usize, groups: usize, silu: bool) -> GroupNormParams {
    GroupNormParams { batch, positions, channels, groups, eps: 1e-5, silu }
}

#[test]
fn real_shapes() {
    check(shape(2, 64 * 64, 320, 32, true), 0.0, 5e-6);
    check(shape(1, 32 * 32, 1920, 32, true), 0.0, 5e-6);
    check(shape(1, 128 * 128, 128, 32, false), 0.0, 5e-6);
    check(shape(2, 16 * 16, 32, 32, true), 0.0, 5e-6);
}

#[test]
fn data_far_from_zero_keeps_its_digits() {
    // Mean 100, deviation 0.6: the input itself has a relative step of 6e-8, a hundredth of that in the output.
    check(shape(1, 128 * 128, 64, 32, false), 100.0, 1e-4);
}

#[test]
fn a_constant_image_gives_the_bias() {
    let s = shape(1, 10, 4, 2, false);
    let mut out = vec![0.0; 40];
    group_norm(s, &[5.0; 40], &[1.0; 4], &[0.0, 1.0, 2.0, 3.0], &mut out);
    assert_close(&out, &[0.0, 1.0, 2.0, 3.0].repeat(10), 1e-5, "constant");
}

#[test]
fn same_bytes_for_any_threads_and_alone_or_in_a_batch() {
    let s = shape(2, 999, 96, 32, true);
    let [x, weight, bias] = inputs(s, 1.0);
    let run = |isa, s, x: &[f32]| -> Vec<u32> {
        let mut out = vec![0.0; x.len()];
        group_norm_with(isa, s, x, &weight, &bias, &mut out);
        out.iter().map(|v| v.to_bits()).collect()
    };
    for isa in Isa::available() {
        let all = run(isa, s, &x);
        for threads in [1, 2, 5] {
            assert_eq!(
                all,
                parallel::with_threads(threads, || run(isa, s, &x)).unwrap(),
                "{isa}, {threads} threads"
            );
        }
        assert_eq!(all[999 * 96..], run(isa, GroupNormParams { batch: 1, ..s }, &x[999 * 96..]), "{isa}");
    }
}

/// Runs that end within a piece, and one that is several pieces long.
#[test]
fn same_bits_in_any_runs_of_pixels() {
    for channels in [64, 100, 7] {
        let s = shape(2, 6000, channels, 1, true);
        let [x, weight, _] = inputs(s, 1.0);
        for isa in Isa::available() {
            let whole = Statistics::with(isa, s, &x, &weight);
            for cuts in [&[0, 1, 255, 256, 300, 5000, 6000][..], &[0, 0, 512, 6000], &[0, 3999, 6000]] {
                let mut sums = GroupNormSums::with(isa, s);
                for cut in cuts.windows(2) {
                    let of = |n: usize| &x[(n * 6000 + cut[0]) * channels..(n * 6000 + cut[1]) * channels];
                    sums.add(&[of(0), of(1)].concat());
                }
                let parts = sums.statistics(&weight);
                let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&parts.mean), bits(&whole.mean), "{isa} {channels} channels, {cuts:?}");
                assert_eq!(bits(&parts.scale), bits(&whole.scale), "{isa} {channels} channels, {cuts:?}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "5 pixels")]
fn statistics_of_a_part_are_refused() {
    let mut sums = GroupNormSums::new(shape(1, 6, 4, 2, false));
    sums.add(&[0.0; 20]);
    let _ = sums.statistics(&[1.0; 4]);
}

#[test]
#[should_panic(expected = "groups do not divide")]
fn groups_divide_the_channels() {
    group_norm(shape(1, 1, 5, 2, false), &[0.0; 5], &[0.0; 5], &[0.0; 5], &mut [0.0; 5]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_shape(batch in 1usize..3, positions in 1usize..300, groups in 1usize..9, width in 1usize..40, silu: bool) {
        // Few values may lie close together: eps bounds what their variance amplifies.
        let s = GroupNormParams { eps: 1e-2, ..shape(batch, positions, groups * width, groups, silu) };
        check(s, 0.5, 2e-5);
    }
}

#[cfg(feature = "gpu")]
mod gpus {
    use super::*;
    use crate::DType;
    use crate::gpu::testing::{check, gpus};
    use crate::gpu::{Array, Gpu};

    /// `x` must be numbers that `f16` holds, so that their rounding is not counted.
    fn compare(gpu: &Gpu, s: GroupNormParams, x: &[f32], tolerance: f32, what: &str) {
        let (weight, bias) = (random(2, s.channels), random(3, s.channels));
        let run = |x: &[Array]| {
            let weight = Array::upload(gpu, DType::F32, &weight)?;
            let bias = Array::upload(gpu, DType::F32, &bias)?;
            let mut out = Array::scratch(gpu, x[0].dtype(), x[0].len())?;
            gpu::group_norm(s, &x[0], &weight, &bias, &mut out)?;
            Ok(out)
        };
        let want = reference::group_norm(s, x, &weight, &bias);
        check(gpu, &[x], &want, tolerance, &format!("{what} {s:?}"), run);
    }

    fn pictures(s: GroupNormParams) -> Vec<f32> {
        random(1, s.batch * s.positions * s.channels)
            .iter()
            .map(|v| half::f16::from_f32(v + 0.25).to_f32())
            .collect()
    }

    #[test]
    fn real_shapes_on_a_gpu() {
        let shapes = [
            shape(2, 8 * 8, 1280, 32, true),
            shape(1, 32 * 32, 320, 32, false),
            shape(2, 16 * 16, 640, 32, true),
            shape(1, 96 * 96, 128, 32, true),
            shape(1, 2 * 2, 1920, 32, true),
        ];
        for (name, gpu) in gpus() {
            for s in shapes {
                compare(&gpu, s, &pictures(s), 1e-5, name);
            }
        }
    }

    #[test]
    fn odd_shapes_on_a_gpu() {
        let mut shapes = vec![
            // One pixel, groups of one channel, and both.
            shape(2, 1, 64, 8, true),
            shape(2, 300, 32, 32, true),
            shape(1, 1, 8, 8, false),
            // Pieces of several sizes.
            shape(1, 70_001, 4, 2, false),
            shape(3, 129, 20, 5, true),
            shape(0, 5, 4, 2, false),
        ];
        for (positions, groups, width) in [(15, 3, 7), (16, 1, 1), (17, 5, 10), (127, 2, 33), (1000, 7, 3)] {
            shapes.push(shape(2, positions, groups * width, groups, positions % 2 == 0));
        }
        for (name, gpu) in gpus() {
            for s in &shapes {
                // Few values may lie close together: eps bounds what their variance amplifies.
                let s = GroupNormParams { eps: 1e-2, ..*s };
                compare(&gpu, s, &pictures(s), 2e-5, name);
            }
        }
    }

    #[test]
    fn data_far_from_zero_keeps_its_digits_on_a_gpu() {
        // A mean of 100 and a deviation of 1, in steps that `f16` holds.
        let s = shape(2, 64 * 64, 64, 32, false);
        let n = s.batch * s.positions * s.channels;
        let x: Vec<f32> = random(1, n).iter().map(|v| 100.0 + (v * 1.73 * 16.0).round() / 16.0).collect();
        for (name, gpu) in gpus() {
            compare(&gpu, s, &x, 1e-4, name);
        }
    }

    /// An outlier where sums begin must not cost the others their digits.
    #[test]
    fn outliers_on_a_gpu() {
        let s = shape(1, 500, 32, 32, false);
        let mut x = pictures(s);
        x[..32].fill(1000.0);
        for (name, gpu) in gpus() {
            compare(&gpu, s, &x, 1e-4, name);
        }
    }

    #[test]
    fn a_constant_picture_gives_the_bias_on_a_gpu() {
        let s = shape(2, 200, 8, 2, false);
        for (name, gpu) in gpus() {
            let x = [vec![5.0; 1600], vec![-300.0; 1600]].concat();
            compare(&gpu, s, &x, 1e-6, name);
        }
    }

    /// Each picture has statistics of its own.
    #[test]
    fn alone_or_in_a_batch_on_a_gpu() {
        let s = shape(3, 200, 40, 4, true);
        let mut x = pictures(s);
        for (n, picture) in x.chunks_exact_mut(200 * 40).enumerate() {
            picture.iter_mut().for_each(|v| *v *= 4f32.powi(n as i32));
        }
        let parameters = [random(2, 40), random(3, 40)];
        for (name, gpu) in gpus() {
            compare(&gpu, s, &x, 1e-5, name);
            let run = |s: GroupNormParams, x: &[f32]| {
                let [x, weight, bias] =
                    [x, &parameters[0], &parameters[1]].map(|v| Array::upload(&gpu, DType::F32, v).unwrap());
                let mut out = Array::scratch(&gpu, DType::F32, x.len()).unwrap();
                gpu::group_norm(s, &x, &weight, &bias, &mut out).unwrap();
                out.read().unwrap()
            };
            let all = run(s, &x);
            for n in 0..3 {
                let alone = run(GroupNormParams { batch: 1, ..s }, &x[n * 8000..][..8000]);
                assert_eq!(all[n * 8000..][..8000], alone, "{name}, picture {n}");
            }
        }
    }
}
