//! Attention.

use super::{BOTH, Case, array, compared, interpreted, zeros};
use crate::DType;
use crate::attention::gpu::{attention, attention_of_scores, by};
use crate::attention::{Attention, ScoreTerms};
use crate::gemm::gpu::tile::Method;
use crate::gpu::{Array, Gpu};

pub(super) const CASES: &[Case] = &[
    compared("attention", plain),
    compared("attention with a mask", masked),
    compared("attention with a bias", biased),
    interpreted("attention by matrices of 16", |gpu| matrices(gpu, 16)),
    interpreted("attention by matrices of 8", |gpu| matrices(gpu, 8)),
    compared("attention by emulated matrices", |gpu| by_matrices(gpu, (8, 32, false), 20)),
];

/// Head sizes that need every kind of tile, as many heads as give rows of about 64 values.
const HEADS: [usize; 11] = [1, 8, 40, 64, 80, 97, 128, 160, 200, 511, 512];

fn inputs(gpu: &Gpu, dtype: DType, shape: Attention) -> [Array; 4] {
    let Attention { batch, queries, keys, heads, kv_heads, head_dim, .. } = shape;
    let queries = batch * queries * heads * head_dim;
    let keys = batch * keys * kv_heads * head_dim;
    [
        array(gpu, dtype, 1, queries),
        array(gpu, dtype, 2, keys),
        array(gpu, dtype, 3, keys),
        zeros(gpu, dtype, queries),
    ]
}

/// More keys than a small binding holds, and fewer than a large one.
fn plain(gpu: &Gpu) {
    let half = [40, 97].map(|head_dim| (DType::F16, head_dim));
    for (dtype, head_dim) in HEADS.map(|head_dim| (DType::F32, head_dim)).into_iter().chain(half) {
        let heads = (64 / head_dim).max(1);
        let is_small = gpu.binding_limit() <= 16 << 10;
        let keys = if is_small { 20_000 / (heads * head_dim * dtype.size()) + 13 } else { 37 };
        let queries = if head_dim > 160 { 33 } else { 67 };
        let shape = Attention { batch: 1, queries, keys, heads, kv_heads: heads, head_dim, causal: false };
        let [q, k, v, mut out] = inputs(gpu, dtype, shape);
        attention(shape, &q, &k, &v, &mut out).unwrap();
    }
}

/// A causal mask, heads that share keys, keys that are padding.
fn masked(gpu: &Gpu) {
    for dtype in BOTH {
        let shape =
            Attention { batch: 2, queries: 69, keys: 90, heads: 4, kv_heads: 2, head_dim: 12, causal: true };
        let [q, k, v, mut out] = inputs(gpu, dtype, shape);
        attention(shape, &q, &k, &v, &mut out).unwrap();
        let terms = ScoreTerms { scale: Some(0.5), key_lengths: Some(&[3, 77]), bias: None };
        let shape = Attention { causal: false, ..shape };
        attention_of_scores(shape, &terms, [&q, &k, &v], &mut out).unwrap();
    }
}

/// With small bindings the bias is taken head by head.
fn biased(gpu: &Gpu) {
    for (dtype, head_dim) in BOTH.into_iter().flat_map(|dtype| [8, 41, 200].map(|head_dim| (dtype, head_dim)))
    {
        let heads = (64 / head_dim).clamp(1, 3);
        let is_small = gpu.binding_limit() <= 16 << 10;
        let keys = if is_small { 20_000 / (heads * head_dim * dtype.size()) + 13 } else { 37 };
        let shape =
            Attention { batch: 1, queries: 11, keys, heads, kv_heads: heads, head_dim, causal: false };
        let [q, k, v, mut out] = inputs(gpu, dtype, shape);
        let bias = array(gpu, dtype, 4, heads * 11 * keys);
        let terms = ScoreTerms { bias: Some(&bias), ..ScoreTerms::default() };
        attention_of_scores(shape, &terms, [&q, &k, &v], &mut out).unwrap();
    }
}

/// Each division among subgroups.
fn matrices(gpu: &Gpu, side: u32) {
    for subgroup in if side == 16 { [32, 16] } else { [32, 8] } {
        for head_dim in [8, 40, 64, 96, 160] {
            by_matrices(gpu, (side, subgroup, true), head_dim);
        }
        for head_dim in [20, 84] {
            by_matrices(gpu, (side, subgroup, false), head_dim);
        }
    }
}

/// Several tiles, or a small one where every thread does the work of a matrix unit.
fn by_matrices(gpu: &Gpu, (side, subgroup, cooperative): (u32, u32, bool), head_dim: usize) {
    let method = Method::Matrices { side, subgroup, cooperative };
    let (queries, keys) = if cooperative { (67, 70) } else { (15, 41) };
    let causal = head_dim == 40;
    let shape = Attention { batch: 1, queries, keys, heads: 2, kv_heads: 1, head_dim, causal };
    let [q, k, v, mut out] = inputs(gpu, DType::F16, shape);
    by(method, shape, &ScoreTerms::default(), [&q, &k, &v], &mut out).unwrap();
}
