//! Matrix products and convolutions.

use super::{BOTH, Case, array, compared, interpreted};
use crate::activation::{Activation, Gate};
use crate::conv2d::gpu::{GpuConvolution, PackedConv, conv2d_by};
use crate::conv2d::{ConvWeight, Padding};
use crate::dtype::{DType, WeightBytes};
use crate::gemm::WeightMatrix;
use crate::gemm::gpu::run::Addends;
use crate::gemm::gpu::tile::Method;
use crate::gemm::gpu::{GpuGatedWeights, GpuLayer, PackedWeight, activated_by, gated_by, matrices};
use crate::gpu::Gpu;
use crate::testing::{random, to_bytes};

pub(super) const CASES: &[Case] = &[
    compared("products", some_products),
    interpreted("products of every dtype", products),
    interpreted("products by matrices", |gpu| METHODS.into_iter().for_each(|m| by_matrices(gpu, m))),
    compared("products of a feed-forward", some_gated),
    interpreted("activated products of every dtype", activated),
    interpreted("gated products of every dtype", gated),
    interpreted("gated products by matrices", |gpu| {
        METHODS.into_iter().for_each(|m| gated_by_matrices(gpu, m));
    }),
    compared("convolutions", some_convolutions),
    interpreted("convolutions of every dtype", convolutions),
    interpreted("convolutions by matrices", |gpu| METHODS.into_iter().for_each(|m| of_images(gpu, m))),
];

const fn method(side: u32, subgroup: u32, cooperative: bool) -> Method {
    Method::Matrices { side, subgroup, cooperative }
}

const METHODS: [Method; 6] = [
    method(16, 32, true),
    method(16, 32, false),
    method(8, 32, true),
    method(8, 32, false),
    method(8, 8, true),
    method(8, 8, false),
];

const WEIGHTS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

fn product(gpu: &Gpu, method: Method, dtype: DType, weight: DType, [m, n, k]: [usize; 3], added: bool) {
    let bytes = to_bytes(&random(2, n * k), weight);
    let matrix = WeightMatrix::new(WeightBytes::new(weight, &bytes), n, k);
    let packed = PackedWeight::new(gpu, &matrix, false).unwrap();
    let x = array(gpu, dtype, 1, m * k);
    let (bias, residual) = (array(gpu, DType::F32, 3, n), array(gpu, dtype, 4, m * n));
    let vector = array(gpu, dtype, 5, m.div_ceil(7) * n);
    let mut out = array(gpu, dtype, 6, m * n);
    let addends = Addends {
        bias: added.then_some(&bias),
        vector: added.then_some(&vector),
        residual: added.then_some(&residual),
        accumulate: added,
    };
    matrices(method, &x, &packed, &addends, 7, &mut out).unwrap();
}

fn some_products(gpu: &Gpu) {
    product(gpu, Method::Fma, DType::F32, DType::BF16, [35, 68, 20], true);
    product(gpu, Method::Fma, DType::F16, DType::F16, [3, 36, 520], true);
    product(gpu, method(8, 32, false), DType::F16, DType::F16, [9, 7, 32], true);
}

/// With tails, one term short of a whole load, and sums long enough to be split.
fn products(gpu: &Gpu) {
    for (dtype, weight) in BOTH.into_iter().flat_map(|dtype| WEIGHTS.map(|weight| (dtype, weight))) {
        for shape in [[35, 68, 20], [35, 70, 21], [9, 68, 21], [33, 6, 12], [3, 36, 520], [5, 3, 516]] {
            product(gpu, Method::Fma, dtype, weight, shape, shape[0] > 4);
        }
    }
}

fn by_matrices(gpu: &Gpu, method: Method) {
    for shape in [[70, 68, 40], [33, 36, 544], [9, 7, 32]] {
        product(gpu, method, DType::F16, DType::F16, shape, shape[0] != 33);
    }
}

/// A product of `[m, k]` to `[m, n]` values and as many gates, with biases; as two layers if `is_pair`.
fn gated_product(
    gpu: &Gpu,
    method: Method,
    dtypes: (DType, DType),
    [m, n, k]: [usize; 3],
    gate: Gate,
    is_pair: bool,
) {
    let (dtype, weight) = dtypes;
    let layer = |seed, n| {
        let bytes = to_bytes(&random(seed, n * k), weight);
        let matrix = WeightMatrix::new(WeightBytes::new(weight, &bytes), n, k);
        (PackedWeight::new(gpu, &matrix, false).unwrap(), array(gpu, DType::F32, seed + 1, n))
    };
    let [a, b] = [layer(2, if is_pair { n } else { 2 * n }), layer(4, n)];
    let [values, gates] = [&a, &b].map(|(weight, bias)| GpuLayer { weight, bias: Some(bias) });
    let weights = match is_pair {
        true => GpuGatedWeights::Pair { values, gates, activation: gate.activation },
        false => GpuGatedWeights::Fused(values, gate),
    };
    let x = array(gpu, dtype, 1, m * k);
    gated_by(method, &x, weights, &mut array(gpu, dtype, 6, m * n)).unwrap();
}

/// A product that ends in a GELU.
fn activated_product(gpu: &Gpu, method: Method, (dtype, weight): (DType, DType), [m, n, k]: [usize; 3]) {
    let bytes = to_bytes(&random(2, n * k), weight);
    let matrix = WeightMatrix::new(WeightBytes::new(weight, &bytes), n, k);
    let packed = PackedWeight::new(gpu, &matrix, false).unwrap();
    let layer = GpuLayer { weight: &packed, bias: Some(&array(gpu, DType::F32, 3, n)) };
    let x = array(gpu, dtype, 1, m * k);
    activated_by(method, &x, layer, Activation::GeluTanh, &mut array(gpu, dtype, 6, m * n)).unwrap();
}

fn activated(gpu: &Gpu) {
    for (dtype, weight) in BOTH.into_iter().flat_map(|dtype| WEIGHTS.map(|weight| (dtype, weight))) {
        for shape in [[35, 68, 20], [3, 36, 520]] {
            activated_product(gpu, Method::Fma, (dtype, weight), shape);
        }
    }
    for method in METHODS {
        activated_product(gpu, method, (DType::F16, DType::F16), [70, 68, 32]);
    }
}

fn some_gated(gpu: &Gpu) {
    activated_product(gpu, Method::Fma, (DType::F32, DType::F16), [35, 68, 20]);
    gated_product(gpu, Method::Fma, (DType::F32, DType::BF16), [35, 36, 20], Gate::GEGLU, false);
    gated_product(gpu, Method::Fma, (DType::F16, DType::F16), [9, 20, 24], Gate::SWIGLU, true);
    gated_product(gpu, Method::Fma, (DType::F16, DType::F16), [3, 36, 520], Gate::SWIGLU, false);
    gated_product(gpu, method(8, 32, false), (DType::F16, DType::F16), [9, 12, 32], Gate::GEGLU, false);
}

/// With halves that end within a panel, more columns than a panel, and sums long enough to be split.
fn gated(gpu: &Gpu) {
    for (dtype, weight) in BOTH.into_iter().flat_map(|dtype| WEIGHTS.map(|weight| (dtype, weight))) {
        for (shape, gate) in
            [([35, 68, 16], Gate::GEGLU), ([67, 36, 20], Gate::SWIGLU), ([9, 8, 12], Gate::GEGLU)]
        {
            gated_product(gpu, Method::Fma, (dtype, weight), shape, gate, shape[0] == 67);
        }
    }
    for dtype in BOTH {
        gated_product(gpu, Method::Fma, (dtype, DType::F16), [5, 36, 520], Gate::GEGLU, dtype == DType::F16);
    }
}

fn gated_by_matrices(gpu: &Gpu, method: Method) {
    for (shape, is_pair) in [([70, 68, 32], false), ([9, 36, 64], true), ([33, 20, 544], false)] {
        gated_product(gpu, method, (DType::F16, DType::F16), shape, Gate::GEGLU, is_pair);
    }
}

/// A convolution `[batch, height, width, in]` to `out` channels by a 3x3 kernel, with all that is fused with it.
fn convolution(
    gpu: &Gpu,
    method: Method,
    (dtype, weight): (DType, DType),
    ([n, h, w, c], out): ([usize; 4], usize),
    (stride, resize): (usize, Option<[usize; 2]>),
) {
    let bytes = to_bytes(&random(2, out * c * 9), weight);
    let filter = ConvWeight::new(WeightBytes::new(weight, &bytes), out, c, 3, stride, Padding::all(1));
    let packed = PackedConv::new(gpu, &filter, false).unwrap();
    let [to_height, to_width] = resize.unwrap_or([h, w]);
    let (oh, ow) = packed.geometry().output_size(to_height, to_width).unwrap();
    let len = n * oh * ow * out;
    let x = array(gpu, dtype, 1, n * h * w * c);
    let (bias, vector) = (array(gpu, DType::F32, 3, out), array(gpu, dtype, 4, n * out));
    let residual = array(gpu, dtype, 5, len);
    let conv = GpuConvolution {
        x: &x,
        shape: [n, h, w],
        resize,
        bias: Some(&bias),
        vector: Some(&vector),
        residual: Some(&residual),
        accumulate: true,
    };
    conv2d_by(method, &conv, &packed, &mut array(gpu, dtype, 6, len)).unwrap();
}

fn convolutions(gpu: &Gpu) {
    for (dtype, weight) in BOTH.into_iter().flat_map(|dtype| WEIGHTS.map(|weight| (dtype, weight))) {
        for (input, out, stride, resize) in [
            ([2, 5, 6, 8], 36, 1, None),
            ([1, 6, 5, 3], 20, 2, None),
            ([1, 4, 5, 4], 6, 1, Some([8, 10])),
            ([1, 5, 4, 3], 18, 1, Some([4, 7])),
            ([1, 3, 3, 60], 20, 1, None),
            ([1, 3, 3, 60], 3, 1, None),
        ] {
            convolution(gpu, Method::Fma, (dtype, weight), (input, out), (stride, resize));
        }
    }
}

fn some_convolutions(gpu: &Gpu) {
    let resized = (1, Some([8, 10]));
    convolution(gpu, Method::Fma, (DType::F16, DType::F16), ([2, 4, 5, 8], 36), resized);
    convolution(gpu, Method::Fma, (DType::F32, DType::F32), ([1, 6, 5, 3], 6), (2, None));
}

fn of_images(gpu: &Gpu, method: Method) {
    for (input, out, resize) in
        [([2, 5, 7, 32], 36, None), ([1, 3, 4, 64], 36, None), ([1, 4, 3, 32], 7, Some([8, 6]))]
    {
        convolution(gpu, method, (DType::F16, DType::F16), (input, out), (1, resize));
    }
}
