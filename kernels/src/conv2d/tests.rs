//! Every instruction set against the seven loops.

use super::*;
use crate::dtype::DType;
use crate::parallel;
use crate::testing::{assert_close, random, to_bytes};
use proptest::prelude::*;

/// What a test convolves: the input's shape, output channels, kernel, stride, padding.
#[derive(Clone, Copy, Debug)]
struct Case {
    input: [usize; 4],
    out_channels: usize,
    kernel: usize,
    stride: usize,
    padding: Padding,
}

impl Case {
    fn run(
        &self,
        isa: Isa,
        dtype: DType,
        x: &[f32],
        bias: Option<&[f32]>,
        residual: bool,
    ) -> (Vec<f32>, Vec<f32>) {
        let [n, h, w, c] = self.input;
        let bytes = to_bytes(&random(2, self.out_channels * c * self.kernel * self.kernel), dtype);
        let weight = WeightBytes::new(dtype, &bytes);
        let packed = PackedConv::new(weight, self.out_channels, c, self.kernel, self.stride, self.padding);
        assert_eq!((packed.in_channels(), packed.out_channels()), (c, self.out_channels));
        let shape = [self.out_channels, self.kernel, self.stride];
        let mut want = reference::conv2d(x, self.input, &weight.to_f32(), shape, self.padding);
        let (oh, ow) = packed.output_size(h, w).unwrap();
        assert_eq!(want.len(), n * oh * ow * self.out_channels);
        let r = random(4, want.len());
        for (i, v) in want.iter_mut().enumerate() {
            *v += bias.map_or(0.0, |b| b[i % self.out_channels]) + if residual { r[i] } else { 0.0 };
        }
        let mut out = vec![f32::NAN; want.len()];
        conv2d_with(isa, x, [n, h, w], &packed, bias, residual.then_some(&r[..]), &mut out);
        (out, want)
    }

    fn check(&self, dtype: DType, residual: bool) {
        let x = random(1, self.input.iter().product());
        let bias = random(3, self.out_channels);
        for isa in Isa::available() {
            let (out, want) = self.run(isa, dtype, &x, Some(&bias), residual);
            let terms = self.input[3] * self.kernel * self.kernel;
            assert_close(&out, &want, 3e-6 * (terms as f32).sqrt(), &format!("{isa} {dtype} {self:?}"));
        }
    }
}

#[test]
fn real_layers_at_small_size() {
    let same = Padding::all(1);
    let case =
        |input, out_channels, kernel, stride, padding| Case { input, out_channels, kernel, stride, padding };
    // UNet: input, residual block, concatenated skip, down-sampling, shortcut, output. VAE: down-sampling, output.
    for case in [
        case([2, 8, 8, 4], 320, 3, 1, same),
        case([1, 6, 5, 320], 320, 3, 1, same),
        case([1, 4, 4, 960], 64, 3, 1, same),
        case([1, 9, 8, 320], 64, 3, 2, same),
        case([1, 5, 5, 640], 320, 1, 1, Padding::default()),
        case([1, 7, 7, 320], 4, 3, 1, same),
        case([1, 8, 8, 128], 128, 3, 2, Padding { bottom: 1, right: 1, ..Padding::default() }),
        case([1, 9, 9, 128], 3, 3, 1, same),
    ] {
        case.check(DType::F16, true);
        case.check(DType::F32, false);
    }
}

#[test]
fn same_bytes_for_any_threads_and_alone_or_in_a_batch() {
    let case =
        Case { input: [3, 7, 9, 40], out_channels: 50, kernel: 3, stride: 1, padding: Padding::all(1) };
    let x = random(1, case.input.iter().product());
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for isa in Isa::available() {
        let (all, _) = case.run(isa, DType::F16, &x, None, false);
        for threads in [1, 2, 5] {
            let (again, _) =
                parallel::with_threads(threads, || case.run(isa, DType::F16, &x, None, false)).unwrap();
            assert_eq!(bits(&all), bits(&again), "{isa}, {threads} threads");
        }
        let alone = Case { input: [1, 7, 9, 40], ..case };
        let (second, _) = alone.run(isa, DType::F16, &x[7 * 9 * 40..][..7 * 9 * 40], None, false);
        assert_eq!(bits(&all[7 * 9 * 50..][..7 * 9 * 50]), bits(&second), "{isa}");
    }
}

#[test]
fn a_kernel_larger_than_the_input_has_no_output_size() {
    let packed = PackedConv::new(WeightBytes::new(DType::F32, &[0; 36]), 1, 1, 3, 1, Padding::default());
    assert_eq!(packed.output_size(2, 9), None);
    assert_eq!(packed.output_size(3, 9), Some((1, 7)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_shape(
        n in 1usize..3, h in 1usize..9, w in 1usize..9, c in 1usize..50, out_channels in 1usize..40,
        kernel in 1usize..4, stride in 1usize..3, pad in 0usize..2, d in 0usize..3, residual: bool,
    ) {
        let padding = Padding::all(pad);
        prop_assume!(h + 2 * pad >= kernel && w + 2 * pad >= kernel);
        Case { input: [n, h, w, c], out_channels, kernel, stride, padding }
            .check([DType::F32, DType::F16, DType::BF16][d], residual);
    }
}
