//! Every instruction set against the seven loops.

use super::*;
use crate::dtype::{DType, WeightBytes};
use crate::group_norm::{GroupNormParams, Statistics, group_norm_with};
use crate::parallel;
use crate::testing::{assert_close, random, to_bytes};
use crate::upsample::nearest;
use proptest::prelude::*;

#[cfg(feature = "gpu")]
mod gpus;
mod precision;
use std::ops::Range;

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
    /// The ways to compute it.
    fn algorithms(&self) -> &'static [Algorithm] {
        let winograd = self.kernel == 3 && self.stride == 1;
        if winograd { &[Algorithm::ImplicitGemm, Algorithm::Winograd] } else { &[Algorithm::ImplicitGemm] }
    }

    fn run(
        &self,
        isa: Isa,
        algorithm: Algorithm,
        dtype: DType,
        x: &[f32],
        bias: Option<&[f32]>,
        residual: bool,
    ) -> (Vec<f32>, Vec<f32>) {
        let [n, h, w, c] = self.input;
        let bytes = to_bytes(&random(2, self.out_channels * c * self.kernel * self.kernel), dtype);
        let weight = WeightBytes::new(dtype, &bytes);
        let filter = ConvWeight::new(weight, self.out_channels, c, self.kernel, self.stride, self.padding);
        assert_eq!((filter.in_channels(), filter.out_channels()), (c, self.out_channels));
        let shape = [self.out_channels, self.kernel, self.stride];
        let mut want = reference::conv2d(x, self.input, &weight.to_f32(), shape, self.padding);
        let (oh, ow) = filter.output_size(h, w).unwrap();
        assert_eq!(want.len(), n * oh * ow * self.out_channels);
        let r = random(4, want.len());
        for (i, v) in want.iter_mut().enumerate() {
            *v += bias.map_or(0.0, |b| b[i % self.out_channels]) + if residual { r[i] } else { 0.0 };
        }
        let mut out = vec![f32::NAN; want.len()];
        let residual = residual.then_some(&r[..]);
        let conv = Convolution { bias, residual, ..Convolution::plain(x, [n, h, w]) };
        conv2d_fused_with(isa, algorithm, &conv, &filter, &mut out);
        (out, want)
    }

    fn check(&self, dtype: DType, residual: bool) {
        let x = random(1, self.input.iter().product());
        let bias = random(3, self.out_channels);
        for isa in Isa::available() {
            for &algorithm in self.algorithms() {
                let (out, want) = self.run(isa, algorithm, dtype, &x, Some(&bias), residual);
                let terms = self.input[3] * self.kernel * self.kernel;
                let what = format!("{isa} {algorithm:?} {dtype} {self:?}");
                // Winograd's error is four times as large as that of the direct sum.
                let error = if algorithm == Algorithm::Winograd { 9e-6 } else { 3e-6 };
                assert_close(&out, &want, error * (terms as f32).sqrt(), &what);
            }
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
        for &algorithm in case.algorithms() {
            let run = |case: Case, x: &[f32]| case.run(isa, algorithm, DType::F16, x, None, false).0;
            let all = run(case, &x);
            for threads in [1, 2, 5] {
                let again = parallel::with_threads(threads, || run(case, &x)).unwrap();
                assert_eq!(bits(&all), bits(&again), "{isa} {algorithm:?}, {threads} threads");
            }
            let alone = Case { input: [1, 7, 9, 40], ..case };
            let second = run(alone, &x[7 * 9 * 40..][..7 * 9 * 40]);
            assert_eq!(bits(&all[7 * 9 * 50..][..7 * 9 * 50]), bits(&second), "{isa} {algorithm:?}");
        }
    }
}

#[test]
fn a_kernel_larger_than_the_input_has_no_output_size() {
    let filter = ConvWeight::new(WeightBytes::new(DType::F32, &[0; 36]), 1, 1, 3, 1, Padding::default());
    assert_eq!(filter.output_size(2, 9), None);
    assert_eq!(filter.output_size(3, 9), Some((1, 7)));
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

/// Root of the mean square of the difference over that of the wanted values.
fn relative_rms(got: &[f32], want: &[f32]) -> f64 {
    let square = |v: f32| f64::from(v) * f64::from(v);
    let (error, size) = got
        .iter()
        .zip(want)
        .fold((0.0, 0.0), |(error, size), (g, w)| (error + square(g - w), size + square(*w)));
    (error / size).sqrt()
}

/// Against sums in f64, at the shapes of the models: 5e-6 is asked for.
#[test]
fn winograd_is_as_exact_as_a_direct_sum() {
    for (input, out_channels) in [([2, 8, 8, 1280], 48), ([1, 16, 16, 640], 32), ([1, 20, 36, 320], 16)] {
        let case = Case { input, out_channels, kernel: 3, stride: 1, padding: Padding::all(1) };
        let x = random(1, case.input.iter().product());
        for isa in Isa::available() {
            let error = |algorithm| {
                let (out, want) = case.run(isa, algorithm, DType::F16, &x, None, false);
                relative_rms(&out, &want)
            };
            let (winograd, direct) = (error(Algorithm::Winograd), error(Algorithm::ImplicitGemm));
            println!("{isa} {input:?}: Winograd {winograd:.1e}, direct {direct:.1e}");
            assert!(winograd < 2e-6, "{isa} {case:?}: {winograd}");
        }
    }
}

/// A norm, a resize and a bias for each picture, fused, are the same ops one after the other.
#[test]
fn a_fused_convolution_equals_its_parts_one_by_one() {
    let (n, c, out_channels) = (2, 72, 40);
    let bytes = to_bytes(&random(2, out_channels * c * 9), DType::BF16);
    let filter =
        ConvWeight::new(WeightBytes::new(DType::BF16, &bytes), out_channels, c, 3, 1, Padding::all(1));
    let (weight, norm_bias, bias) = (random(3, c), random(4, c), random(5, n * out_channels));
    for (size, resize) in [([9, 7], None), ([5, 6], Some([10, 12])), ([4, 3], Some([7, 5]))] {
        let [h, w] = size;
        let x = random(1, n * h * w * c);
        let shape =
            GroupNormParams { batch: n, positions: h * w, channels: c, groups: 8, eps: 1e-5, silu: true };
        let [oh, ow] = resize.unwrap_or(size);
        let mut normal = vec![0.0; x.len()];
        let mut large = vec![0.0; n * oh * ow * c];
        let residual = random(6, n * oh * ow * out_channels);
        for isa in Isa::available() {
            group_norm_with(isa, shape, &x, &weight, &norm_bias, &mut normal);
            nearest(&normal, [n, h, w, c], [oh, ow], &mut large);
            let matrix = [out_channels, 3, 1];
            let weights = WeightBytes::new(DType::BF16, &bytes).to_f32();
            let mut want = reference::conv2d(&large, [n, oh, ow, c], &weights, matrix, Padding::all(1));
            for (i, v) in want.iter_mut().enumerate() {
                *v += bias[i / (oh * ow * out_channels) * out_channels + i % out_channels] + residual[i];
            }
            let statistics = Statistics::with(isa, shape, &x, &weight);
            let conv = Convolution {
                norm: Some(statistics.norm(&norm_bias, true)),
                resize,
                bias: Some(&bias),
                residual: Some(&residual),
                ..Convolution::plain(&x, [n, h, w])
            };
            for algorithm in [Algorithm::ImplicitGemm, Algorithm::Winograd] {
                let mut out = vec![f32::NAN; want.len()];
                conv2d_fused_with(isa, algorithm, &conv, &filter, &mut out);
                assert_close(&out, &want, 1e-4, &format!("{isa} {algorithm:?} {size:?} {resize:?}"));
                let beside = out.clone();
                out.copy_from_slice(&residual);
                let in_place = Convolution { residual: None, accumulate: true, ..conv };
                conv2d_fused_with(isa, algorithm, &in_place, &filter, &mut out);
                assert!(out == beside, "{isa} {algorithm:?} {size:?} {resize:?} in place");
            }
        }
    }
}

/// Convolves band by band, each from the rows that it needs and no others; bands begin at `cuts`, rounded to the grid.
fn by_bands(
    isa: Isa,
    algorithm: Algorithm,
    conv: &Convolution<'_>,
    filter: &ConvWeight,
    cuts: &[usize],
) -> Vec<f32> {
    let [batch, height, width] = conv.shape;
    let [_, to_height, to_width] = conv.size();
    let (out_height, out_width) = filter.output_size(to_height, to_width).unwrap();
    let (line, out_line) = (width * filter.in_channels(), out_width * filter.out_channels());
    let mut starts: Vec<usize> = cuts.iter().map(|cut| cut % out_height / BAND_UNIT * BAND_UNIT).collect();
    starts.extend([0, out_height]);
    starts.sort_unstable();
    starts.dedup();
    // The rows of all images, one after the other.
    let rows = |values: &[f32], line: usize, height: usize, rows: RowRange| -> Vec<f32> {
        let image = |n| values[(n * height + rows.start) * line..(n * height + rows.end) * line].to_vec();
        (0..batch).flat_map(image).collect()
    };
    let mut out = vec![f32::NAN; batch * out_height * out_line];
    for band in starts.windows(2) {
        let wanted = RowRange::from(band[0]..band[1]);
        let held = filter.geometry.rows_read([height, to_height], wanted);
        let x = rows(conv.x, line, height, held);
        let residual = conv.residual.map(|residual| rows(residual, out_line, out_height, wanted));
        let band = Some(Band { held, wanted });
        let mut values = vec![f32::NAN; batch * wanted.count() * out_line];
        let conv = Convolution { x: &x, residual: residual.as_deref(), band, ..*conv };
        conv2d_fused_with(isa, algorithm, &conv, filter, &mut values);
        for (n, values) in values.chunks_exact(wanted.count() * out_line).enumerate() {
            out[(n * out_height + wanted.start) * out_line..][..values.len()].copy_from_slice(values);
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// The norm, the residual and a resize make no difference.
    #[test]
    fn bands_have_the_bits_of_the_whole(
        n in 1usize..3, h in 1usize..24, w in 1usize..20, c in 1usize..40, out_channels in 1usize..40,
        kernel in 1usize..4, stride in 1usize..3, pad in 0usize..2, taller in 0usize..20, d in 0usize..3,
        resize: bool, norm: bool, residual: bool, cuts in proptest::collection::vec(0usize..100, 0..6),
    ) {
        let resize = resize.then_some([h + taller, w + taller]);
        let [to_h, to_w] = resize.unwrap_or([h, w]);
        prop_assume!(to_h + 2 * pad >= kernel && to_w + 2 * pad >= kernel);
        let dtype = [DType::F32, DType::F16, DType::BF16][d];
        let bytes = to_bytes(&random(2, out_channels * c * kernel * kernel), dtype);
        let weight = WeightBytes::new(dtype, &bytes);
        let case = Case { input: [n, h, w, c], out_channels, kernel, stride, padding: Padding::all(pad) };
        let filter = ConvWeight::new(weight, out_channels, c, kernel, stride, case.padding);
        let (oh, ow) = filter.output_size(to_h, to_w).unwrap();
        let x = random(1, n * h * w * c);
        let (bias, added) = (random(3, n * out_channels), random(4, n * oh * ow * out_channels));
        let (mean, scale, shift) = (random(5, n * c), random(6, n * c), random(7, c));
        let conv = Convolution {
            norm: norm.then_some(Norm { mean: &mean, scale: &scale, bias: &shift, silu: true }),
            resize,
            bias: Some(&bias),
            residual: residual.then_some(&added),
            ..Convolution::plain(&x, [n, h, w])
        };
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for isa in Isa::available() {
            for &algorithm in case.algorithms() {
                let mut whole = vec![f32::NAN; n * oh * ow * out_channels];
                conv2d_fused_with(isa, algorithm, &conv, &filter, &mut whole);
                let bands = by_bands(isa, algorithm, &conv, &filter, &cuts);
                prop_assert!(bits(&bands) == bits(&whole), "{isa} {algorithm:?} {case:?} {cuts:?}");
            }
        }
    }
}

/// The last level of a VAE, where each thread has blocks of its own and a block goes over several rows of tiles.
#[test]
fn bands_of_a_real_layer_have_the_bits_of_the_whole() {
    let (h, w, c, out_channels) = (26, 120, 256, 128);
    let bytes = to_bytes(&random(2, out_channels * c * 9), DType::F16);
    let filter =
        ConvWeight::new(WeightBytes::new(DType::F16, &bytes), out_channels, c, 3, 1, Padding::all(1));
    let x = random(1, h * w * c);
    let conv = Convolution { resize: Some([2 * h, 2 * w]), ..Convolution::plain(&x, [1, h, w]) };
    for isa in Isa::available().filter(|isa| *isa != Isa::Scalar) {
        let mut whole = vec![f32::NAN; 4 * h * w * out_channels];
        conv2d_fused_with(isa, Algorithm::Winograd, &conv, &filter, &mut whole);
        for threads in [1, 3] {
            let bands = || by_bands(isa, Algorithm::Winograd, &conv, &filter, &[4, 36, 48]);
            let bands = parallel::with_threads(threads, bands).unwrap();
            assert!(bands.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa}");
        }
    }
}

#[test]
fn rows_that_a_band_depends_on() {
    let filter = |stride, pad| {
        ConvWeight::new(WeightBytes::new(DType::F32, &[0; 36]), 1, 1, 3, stride, Padding::all(pad))
    };
    let read = |stride, pad, heights, wanted: Range<usize>| {
        let RowRange { start, end } = filter(stride, pad).geometry.rows_read(heights, wanted.into());
        start..end
    };
    assert_eq!(read(1, 1, [20, 20], 0..8), 0..9);
    assert_eq!(read(1, 1, [20, 20], 8..12), 7..13);
    assert_eq!(read(1, 1, [20, 20], 16..20), 15..20);
    assert_eq!(read(1, 0, [20, 20], 8..12), 8..14);
    assert_eq!(read(2, 1, [20, 20], 4..8), 7..16);
    assert_eq!(read(1, 1, [10, 20], 8..12), 3..7, "rows 7 to 12 of the input twice as tall");
}

#[test]
#[should_panic(expected = "is not a band of 8 rows")]
fn a_band_off_the_grid_is_refused() {
    let filter = ConvWeight::new(WeightBytes::new(DType::F32, &[0; 36]), 1, 1, 3, 1, Padding::all(1));
    let band = Some(Band { held: (0..8).into(), wanted: (2..4).into() });
    conv2d_fused(&Convolution { band, ..Convolution::plain(&[0.0; 16], [1, 8, 2]) }, &filter, &mut [0.0; 4]);
}

#[test]
#[should_panic(expected = "is held")]
fn a_band_without_its_neighbours_is_refused() {
    let filter = ConvWeight::new(WeightBytes::new(DType::F32, &[0; 36]), 1, 1, 3, 1, Padding::all(1));
    let band = Some(Band { held: (0..4).into(), wanted: (0..4).into() });
    conv2d_fused(&Convolution { band, ..Convolution::plain(&[0.0; 8], [1, 8, 2]) }, &filter, &mut [0.0; 8]);
}
