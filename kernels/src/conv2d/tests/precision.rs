//! Convolutions in bf16 and in 8-bit integers.

use super::*;
use crate::Precision;
use crate::gemm::{Product, gemm_many_with};
use half::bf16;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| bf16::from_f32(*value).to_f32()).collect()
}

#[test]
fn convolutions_in_bf16_are_those_of_rounded_values() {
    for (input, out_channels, kernel, stride) in [
        ([2, 9, 8, 40], 50, 3, 1),
        ([1, 8, 7, 4], 20, 3, 1),
        ([1, 9, 9, 33], 16, 3, 2),
        ([2, 5, 5, 64], 37, 1, 1),
    ] {
        let ([n, h, w, c], padding) = (input, Padding::all(kernel / 2));
        let x = random(1, n * h * w * c);
        let bytes = to_bytes(&random(2, out_channels * c * kernel * kernel), DType::F16);
        let weight = WeightBytes::new(DType::F16, &bytes);
        let filter = ConvWeight::new(weight, out_channels, c, kernel, stride, padding);
        let shape = [out_channels, kernel, stride];
        let want = reference::conv2d(&rounded(&x), input, &rounded(&weight.to_f32()), shape, padding);
        let conv = Convolution { precision: Precision::Bf16, ..Convolution::plain(&x, [n, h, w]) };
        for isa in Isa::available() {
            let mut first = None;
            for threads in [1, 2, 3] {
                let mut out = vec![f32::NAN; want.len()];
                let run = || conv2d_fused_with(isa, Algorithm::ImplicitGemm, &conv, &filter, &mut out);
                parallel::with_threads(threads, run).unwrap();
                assert_close(&out, &want, 1e-4, &format!("{isa} {input:?} {kernel} {stride}"));
                assert_eq!(*first.get_or_insert_with(|| bits(&out)), bits(&out), "{isa}, {threads} threads");
            }
            let bands = by_bands(isa, Algorithm::ImplicitGemm, &conv, &filter, &[4]);
            assert_eq!(first.unwrap(), bits(&bands), "{isa} {input:?} in bands");
        }
        let (mut chosen, mut direct) = (vec![0.0; want.len()], vec![0.0; want.len()]);
        conv2d_fused(&conv, &filter, &mut chosen);
        conv2d_fused_with(Isa::best(), Algorithm::ImplicitGemm, &conv, &filter, &mut direct);
        assert_eq!(bits(&chosen), bits(&direct), "never by Winograd's algorithm");
    }
}

/// As the blocks of a VAE do that decodes in bands. The sum has several parts.
#[test]
fn a_direct_convolution_over_its_residual_has_the_bits_of_one_beside_it() {
    let ([n, h, w, c], out_channels) = ([1, 5, 6, 200], 40);
    let (x, residual) = (random(1, n * h * w * c), random(2, n * h * w * out_channels));
    let (bytes, bias) = (to_bytes(&random(3, out_channels * c * 9), DType::F16), random(4, out_channels));
    let filter =
        ConvWeight::new(WeightBytes::new(DType::F16, &bytes), out_channels, c, 3, 1, Padding::all(1));
    for precision in [Precision::F32, Precision::Bf16] {
        let plain = Convolution { precision, bias: Some(&bias), ..Convolution::plain(&x, [n, h, w]) };
        let (mut beside, mut over) = (vec![f32::NAN; residual.len()], residual.clone());
        let with = Convolution { residual: Some(&residual), ..plain };
        conv2d_fused_with(Isa::best(), Algorithm::ImplicitGemm, &with, &filter, &mut beside);
        let with = Convolution { accumulate: true, ..plain };
        conv2d_fused_with(Isa::best(), Algorithm::ImplicitGemm, &with, &filter, &mut over);
        assert_eq!(bits(&beside), bits(&over), "{precision:?}");
    }
}

#[test]
#[should_panic(expected = "Winograd is not for bf16")]
fn winograd_is_refused_in_bf16() {
    let filter = ConvWeight::new(WeightBytes::new(DType::F32, &[0; 36]), 1, 1, 3, 1, Padding::all(1));
    let conv = Convolution { precision: Precision::Bf16, ..Convolution::plain(&[0.0; 16], [1, 4, 4]) };
    conv2d_fused_with(Isa::Scalar, Algorithm::Winograd, &conv, &filter, &mut [0.0; 16]);
}

#[test]
fn only_convolutions_of_one_tap_are_in_8_bit_integers() {
    let ([n, h, w, c], out_channels) = ([2, 6, 5, 96], 40);
    let x = random(1, n * h * w * c);
    for kernel in [1, 3] {
        let bytes = to_bytes(&random(2, out_channels * c * kernel * kernel), DType::F16);
        let weight = WeightBytes::new(DType::F16, &bytes);
        let filter = ConvWeight::new(weight, out_channels, c, kernel, 1, Padding::all(kernel / 2));
        for isa in Isa::available() {
            let run = |precision| {
                let mut out = vec![f32::NAN; n * h * w * out_channels];
                let conv = Convolution { precision, ..Convolution::plain(&x, [n, h, w]) };
                conv2d_fused_with(isa, Algorithm::ImplicitGemm, &conv, &filter, &mut out);
                bits(&out)
            };
            let got = run(Precision::Int8);
            if kernel == 3 {
                assert_eq!(got, run(Precision::F32), "{isa}");
                continue;
            }
            let mut want = vec![f32::NAN; n * h * w * out_channels];
            let (weight, precision) = (&filter.matrix, Precision::Int8);
            let (bias, residual, accumulate, out) = (None, None, false, &mut want[..]);
            gemm_many_with(isa, &x, &mut [Product { weight, bias, residual, accumulate, precision, out }]);
            assert_eq!(got, bits(&want), "{isa}");
        }
    }
}

/// The three matrices of F(4, 3), each as `[points]`, from the formulas of `winograd/transform.rs`.
struct Transforms {
    input: [[f64; 6]; 6],
    filter: [[f64; 3]; 6],
    /// `[outputs][points]`
    output: [[f64; 6]; 4],
}

impl Transforms {
    fn new() -> Transforms {
        let (a, b) = (0.75, 1.5);
        let points: [f64; 5] = [0.0, a, -a, b, -b];
        // The coefficients of the product of `x - q` over some points.
        let polynomial = |roots: &[f64]| {
            let mut all = [0f64; 6];
            all[0] = 1.0;
            for root in roots {
                for i in (0..6).rev() {
                    all[i] = if i > 0 { all[i - 1] } else { 0.0 } - root * all[i];
                }
            }
            all
        };
        let mut transforms =
            Transforms { input: [[0.0; 6]; 6], filter: [[0.0; 3]; 6], output: [[0.0; 6]; 4] };
        for (i, p) in points.into_iter().enumerate() {
            let others: Vec<f64> = points.into_iter().filter(|q| *q != p).collect();
            let slope: f64 = others.iter().map(|q| p - q).product();
            transforms.input[i] = polynomial(&others);
            transforms.filter[i] = [1.0 / slope, p / slope, p * p / slope];
            (0..4).for_each(|power| transforms.output[power][i] = p.powi(power as i32));
        }
        transforms.input[5] = polynomial(&points);
        transforms.filter[5] = [0.0, 0.0, 1.0];
        transforms.output[3][5] = 1.0;
        transforms
    }
}

/// `rows x rowsᵀ` of a square `x`.
fn both_ways<const N: usize, const M: usize>(rows: &[[f64; N]; M], x: &[[f64; N]; N]) -> [[f64; M]; M] {
    let dot = |i: usize, j: usize| -> f64 {
        (0..N).map(|y| (0..N).map(|x_| rows[i][y] * x[y][x_] * rows[j][x_]).sum::<f64>()).sum()
    };
    std::array::from_fn(|i| std::array::from_fn(|j| dot(i, j)))
}

/// Why bf16 has no Winograd: with the transformed values rounded to bf16, and all else exact, its error is several times
/// that of the direct sum of rounded values.
#[test]
fn winograd_of_rounded_values_loses_several_times_what_a_direct_sum_does() {
    let (tiles, channels) = (40, 64);
    let transforms = Transforms::new();
    let values: Vec<f64> = random(1, tiles * channels * 36).into_iter().map(f64::from).collect();
    let filters: Vec<f64> = random(2, channels * 9).into_iter().map(f64::from).collect();
    let round = |x: f64| f64::from(bf16::from_f32(x as f32).to_f32());
    let (mut size, mut direct_error, mut winograd_error, mut exact_error) = (0.0, 0.0, 0.0, 0f64);
    for tile in 0..tiles {
        let (mut points, mut exact_points) = ([[0.0; 6]; 6], [[0.0; 6]; 6]);
        let (mut want, mut direct) = ([[0.0; 4]; 4], [[0.0; 4]; 4]);
        for channel in 0..channels {
            let x: [[f64; 6]; 6] = std::array::from_fn(|y| {
                std::array::from_fn(|x| values[((tile * channels + channel) * 6 + y) * 6 + x])
            });
            let g: [[f64; 3]; 3] =
                std::array::from_fn(|y| std::array::from_fn(|x| filters[channel * 9 + y * 3 + x]));
            let (v, u) = (both_ways(&transforms.input, &x), both_ways(&transforms.filter, &g));
            for (i, j) in (0..36).map(|i| (i / 6, i % 6)) {
                points[i][j] += round(v[i][j]) * round(u[i][j]);
                exact_points[i][j] += v[i][j] * u[i][j];
            }
            for (i, j, y, k) in (0..144).map(|i| (i / 36, i / 9 % 4, i / 3 % 3, i % 3)) {
                want[i][j] += x[i + y][j + k] * g[y][k];
                direct[i][j] += round(x[i + y][j + k]) * round(g[y][k]);
            }
        }
        let (winograd, exact) =
            (both_ways(&transforms.output, &points), both_ways(&transforms.output, &exact_points));
        for (i, j) in (0..16).map(|i| (i / 4, i % 4)) {
            size += want[i][j].powi(2);
            direct_error += (direct[i][j] - want[i][j]).powi(2);
            winograd_error += (winograd[i][j] - want[i][j]).powi(2);
            exact_error = exact_error.max((exact[i][j] - want[i][j]).abs());
        }
    }
    let (direct, winograd) = ((direct_error / size).sqrt(), (winograd_error / size).sqrt());
    println!(
        "relative RMS in bf16: direct {direct:.2e}, Winograd {winograd:.2e}, {:.1} times",
        winograd / direct
    );
    assert!(exact_error < 1e-9, "without rounding both are the same: {exact_error}");
    assert!(winograd > 3.0 * direct, "direct {direct}, Winograd {winograd}");
}
