//! Every instruction set against the specification in `f64`.

use super::*;
use crate::parallel;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

fn inputs(shape: GroupNorm, mean: f32) -> [Vec<f32>; 3] {
    let x = random(1, shape.batch * shape.positions * shape.channels).iter().map(|v| v + mean).collect();
    [x, random(2, shape.channels), random(3, shape.channels)]
}

fn check(shape: GroupNorm, mean: f32, tolerance: f32) {
    let [x, weight, bias] = inputs(shape, mean);
    let want = reference::group_norm(shape, &x, &weight, &bias);
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; x.len()];
        group_norm_with(isa, shape, &x, &weight, &bias, &mut out);
        assert_close(&out, &want, tolerance, &format!("{isa} {shape:?} mean {mean}"));
    }
}

fn shape(batch: usize, positions: usize, channels: usize, groups: usize, silu: bool) -> GroupNorm {
    GroupNorm { batch, positions, channels, groups, eps: 1e-5, silu }
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
fn a_constant_picture_gives_the_bias() {
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
        assert_eq!(all[999 * 96..], run(isa, GroupNorm { batch: 1, ..s }, &x[999 * 96..]), "{isa}");
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
                let mut sums = Sums::with(isa, s);
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
fn sums_of_a_part_are_no_statistics() {
    let mut sums = Sums::new(shape(1, 6, 4, 2, false));
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
        let s = GroupNorm { eps: 1e-2, ..shape(batch, positions, groups * width, groups, silu) };
        check(s, 0.5, 2e-5);
    }
}
