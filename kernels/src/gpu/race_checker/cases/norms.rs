//! Norms and softmax.

use super::{BOTH, Case, array, compared, zeros};
use crate::DType;
use crate::gpu::Gpu;
use crate::group_norm::GroupNormParams;
use crate::group_norm::gpu::group_norm;
use crate::layer_norm::gpu as layer_norm;
use crate::rms_norm::gpu as rms_norm;
use crate::softmax::gpu::softmax;

pub(super) const CASES: &[Case] = &[
    compared("group norm", group_norms),
    compared("layer norm", layer_norms),
    compared("rms norm", rms_norms),
    compared("softmax", softmaxes),
];

/// Several pieces, and with small bindings several parts.
fn group_norms(gpu: &Gpu) {
    for dtype in BOTH {
        for (positions, channels, groups) in [(300, 24, 4), (140, 6, 3), (5, 96, 32)] {
            for silu in [false, true] {
                let shape = GroupNormParams { batch: 2, positions, channels, groups, eps: 1e-5, silu };
                let x = array(gpu, dtype, 1, 2 * positions * channels);
                let [weight, bias] = [2, 3].map(|seed| array(gpu, DType::F32, seed, channels));
                let mut out = zeros(gpu, dtype, x.len());
                group_norm(shape, &x, &weight, &bias, &mut out).unwrap();
            }
        }
    }
}

/// Widths of scalars and vectors, shorter than the lanes and longer, and those for a whole workgroup; rows that leave
/// threads of the last workgroup without work.
const WIDTHS: [usize; 4] = [5, 148, 37, 2052];
const ROWS: usize = 9;

fn layer_norms(gpu: &Gpu) {
    for (dtype, width) in BOTH.into_iter().flat_map(|dtype| WIDTHS.map(|width| (dtype, width))) {
        let x = array(gpu, dtype, 1, ROWS * width);
        let mut out = zeros(gpu, dtype, x.len());
        let [weight, bias] = [2, 3].map(|seed| array(gpu, DType::F32, seed, width));
        layer_norm::layer_norm(&x, &weight, &bias, 1e-5, &mut out).unwrap();
        let [scale, shift] = [2, 3].map(|seed| array(gpu, dtype, seed, 3 * width));
        layer_norm::layer_norm_modulated(&x, &scale, &shift, 3, 1e-5, &mut out).unwrap();
    }
}

fn rms_norms(gpu: &Gpu) {
    for (dtype, width) in BOTH.into_iter().flat_map(|dtype| WIDTHS.map(|width| (dtype, width))) {
        let x = array(gpu, dtype, 1, ROWS * width);
        let mut out = zeros(gpu, dtype, x.len());
        let weight = array(gpu, DType::F32, 2, width);
        rms_norm::rms_norm(&x, &weight, 1e-5, &mut out).unwrap();
        let scale = array(gpu, dtype, 3, 3 * width);
        rms_norm::rms_norm_modulated(&x, &weight, &scale, 3, 1e-5, &mut out).unwrap();
    }
}

fn softmaxes(gpu: &Gpu) {
    for (dtype, width) in BOTH.into_iter().flat_map(|dtype| WIDTHS.map(|width| (dtype, width))) {
        softmax(&mut array(gpu, dtype, 1, ROWS * width), width).unwrap();
    }
}
