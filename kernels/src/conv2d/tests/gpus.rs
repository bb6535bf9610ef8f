//! The kernel for GPUs against the specification.

use super::*;
use crate::gemm::gpu::tile::Method;
use crate::gpu::testing::{check, gpus};
use crate::gpu::{Array, Gpu};
use gpu::PackedConv;

/// What is fused with a convolution.
struct Fusion {
    resize: Option<[usize; 2]>,
    bias: bool,
    vector: bool,
    residual: bool,
    accumulate: bool,
}

const ALONE: Fusion = Fusion { resize: None, bias: true, vector: false, residual: false, accumulate: false };

fn check_case(name: &str, gpu: &Gpu, case: Case, dtype: DType, half: bool, fusion: &Fusion) {
    check_by(Method::best(gpu), name, gpu, case, dtype, half, fusion);
}

fn check_by(method: Method, name: &str, gpu: &Gpu, case: Case, dtype: DType, half: bool, fusion: &Fusion) {
    let [n, h, w, c] = case.input;
    let Case { out_channels, kernel, stride, padding, .. } = case;
    let bytes = to_bytes(&random(2, out_channels * c * kernel * kernel), dtype);
    let values = WeightBytes::new(dtype, &bytes);
    let filter = ConvWeight::new(values, out_channels, c, kernel, stride, padding);
    let packed = PackedConv::new(gpu, &filter, half).unwrap();
    assert_eq!((packed.in_channels(), packed.out_channels()), (c, out_channels));
    let x = random(1, n * h * w * c);
    let [th, tw] = fusion.resize.unwrap_or([h, w]);
    let large = crate::upsample::reference::nearest(&x, [n, h, w, c], [th, tw]);
    let shape = [out_channels, kernel, stride];
    let mut want = reference::conv2d(&large, [n, th, tw, c], &values.to_f32(), shape, padding);
    let (oh, ow) = packed.geometry().output_size(th, tw).unwrap();
    assert_eq!(want.len(), n * oh * ow * out_channels);
    let (b, v) = (random(3, out_channels), random(4, n * out_channels));
    let (r, before) = (random(5, want.len()), random(6, want.len()));
    for (i, value) in want.iter_mut().enumerate() {
        let channel = i % out_channels;
        let image = i / (oh * ow * out_channels);
        *value += if fusion.bias { b[channel] } else { 0.0 };
        *value += if fusion.vector { v[image * out_channels + channel] } else { 0.0 };
        *value += if fusion.residual { r[i] } else { 0.0 };
        *value += if fusion.accumulate { before[i] } else { 0.0 };
    }
    let bias = Array::upload(gpu, DType::F32, &b).unwrap();
    let terms = (c * kernel * kernel) as f32;
    let tolerance = terms.sqrt() * if half && dtype != DType::F16 { 3e-4 } else { 3e-6 };
    let what = format!("{name} {case:?} {dtype} half {half} resize {:?} by {method:?}", fusion.resize);
    check(gpu, &[&x, &v, &r, &before], &want, tolerance, &what, |arrays| {
        let mut out = arrays[3].clone();
        let conv = gpu::GpuConvolution {
            x: &arrays[0],
            shape: [n, h, w],
            resize: fusion.resize,
            bias: fusion.bias.then_some(&bias),
            vector: fusion.vector.then_some(&arrays[1]),
            residual: fusion.residual.then_some(&arrays[2]),
            accumulate: fusion.accumulate,
        };
        if method == Method::best(gpu) {
            gpu::conv2d(&conv, &packed, &mut out)?;
        } else {
            gpu::conv2d_by(method, &conv, &packed, &mut out)?;
        }
        Ok(out)
    });
}

fn case(input: [usize; 4], out_channels: usize, kernel: usize, stride: usize, padding: Padding) -> Case {
    Case { input, out_channels, kernel, stride, padding }
}

/// Those of [`super::real_layers_at_small_size`].
#[test]
fn real_convolutions() {
    let same = Padding::all(1);
    for (name, gpu) in gpus() {
        for (i, case) in [
            case([2, 8, 8, 4], 320, 3, 1, same),
            case([1, 6, 5, 320], 320, 3, 1, same),
            case([1, 4, 4, 960], 64, 3, 1, same),
            case([1, 9, 8, 320], 64, 3, 2, same),
            case([1, 5, 5, 640], 320, 1, 1, Padding::default()),
            case([1, 7, 7, 320], 4, 3, 1, same),
            case([1, 8, 8, 128], 128, 3, 2, Padding { bottom: 1, right: 1, ..Padding::default() }),
            case([1, 9, 9, 128], 3, 3, 1, same),
            case([1, 30, 31, 3], 128, 3, 1, same),
            case([1, 32, 32, 4], 96, 16, 16, Padding::default()),
        ]
        .into_iter()
        .enumerate()
        {
            check_case(name, &gpu, case, [DType::F16, DType::F32][i % 2], i % 4 == 1, &ALONE);
        }
    }
}

/// Taps side by side in a block, whole rows of blocks and rows that begin within them.
#[test]
fn convolutions_of_blocks() {
    for (name, gpu) in gpus() {
        for dtype in [DType::Q8_0, DType::Q4_1, DType::Q5_0, DType::IQ4_NL] {
            check_case(name, &gpu, case([1, 6, 5, 64], 70, 3, 1, Padding::all(1)), dtype, false, &ALONE);
            check_case(name, &gpu, case([1, 6, 5, 8], 32, 3, 1, Padding::all(1)), dtype, true, &ALONE);
        }
        for dtype in [DType::Q4_K, DType::Q6_K] {
            check_case(name, &gpu, case([1, 4, 5, 256], 36, 3, 2, Padding::all(1)), dtype, true, &ALONE);
        }
    }
}

/// Odd sizes with every prologue and epilogue, small enough to test many and large enough to be split into bands.
#[test]
fn convolutions_of_any_shape_with_all_fused() {
    let pads = [
        Padding::default(),
        Padding::all(1),
        Padding { bottom: 1, right: 1, ..Padding::default() },
        Padding { top: 2, left: 3, bottom: 0, right: 1 },
    ];
    for (name, gpu) in gpus() {
        let mut i = 0;
        for input in [[1, 5, 7, 3], [2, 9, 6, 8], [3, 4, 4, 20], [2, 17, 13, 36]] {
            for (kernel, stride) in [(1, 1), (1, 2), (2, 2), (3, 1), (3, 2)] {
                let out_channels = [1, 4, 10, 24, 68, 130][i % 6];
                let [_, h, w, _] = input;
                let resize = [None, Some([2 * h, 2 * w]), Some([h + 3, w - 1]), None, Some([h - 1, w])];
                let fusion = Fusion {
                    resize: resize[i % 5],
                    bias: i % 2 == 0,
                    vector: i % 3 != 0,
                    residual: i % 4 < 2,
                    accumulate: i % 4 == 3,
                };
                let dtype = [DType::F32, DType::F16, DType::BF16][i % 3];
                let case = case(input, out_channels, kernel, stride, pads[(i / 2) % 4]);
                check_case(name, &gpu, case, dtype, i % 4 == 1, &fusion);
                i += 1;
            }
        }
    }
}

/// An image too large for a binding, in bands; a vector for each of several; sums long enough to be split.
#[test]
fn large_pictures_and_long_sums() {
    let all = Fusion { resize: None, bias: true, vector: true, residual: true, accumulate: true };
    let enlarged = Fusion { resize: Some([40, 44]), ..all };
    for (name, gpu) in gpus() {
        for fusion in [&all, &enlarged] {
            check_case(
                name,
                &gpu,
                case([2, 20, 22, 32], 36, 3, 1, Padding::all(1)),
                DType::F16,
                false,
                fusion,
            );
        }
        check_case(name, &gpu, case([2, 40, 30, 16], 64, 1, 1, Padding::default()), DType::BF16, false, &all);
        check_case(name, &gpu, case([2, 8, 8, 160], 64, 3, 1, Padding::all(1)), DType::F16, true, &all);
        check_case(name, &gpu, case([1, 130, 70, 4], 136, 3, 1, Padding::all(1)), DType::F16, true, &all);
    }
}

/// The code around cooperative matrices, on any GPU.
#[test]
fn convolutions_by_emulated_matrices() {
    let all = Fusion { resize: None, bias: true, vector: true, residual: true, accumulate: true };
    let enlarged = Fusion { resize: Some([16, 14]), ..all };
    for (name, gpu) in gpus() {
        for (side, subgroup) in [(16, 32), (8, 8)] {
            let method = Method::Matrices { side, subgroup, cooperative: false };
            for (case, fusion) in [
                (case([2, 9, 7, 32], 68, 3, 1, Padding::all(1)), &all),
                (case([1, 8, 7, 32], 40, 3, 1, Padding::all(1)), &enlarged),
                // A tap ends within a load, and the sums are long enough to be split.
                (case([1, 5, 6, 36], 64, 4, 1, Padding::all(1)), &all),
            ] {
                check_by(method, name, &gpu, case, DType::F16, false, fusion);
            }
        }
    }
}
