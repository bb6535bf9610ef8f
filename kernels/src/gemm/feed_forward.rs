//! Products of a transformer's feed-forward, whose sums go through an activation or a gate while they are in the cache.

use super::factor::{Factor, FactorEnd, FactorGate};
use super::lhs::MatrixRows;
use super::{Product, WeightMatrix, gemm_many_with, panel_width, product_in};
use crate::Precision;
use crate::activation::{Activation, Gate, gated_with, multiply_activated_with};
use crate::simd::Isa;

/// The weight `[n, k]` and the bias `[n]` of a layer.
#[derive(Clone, Copy, Debug)]
pub struct LayerWeights<'a> {
    /// `[n, k]`
    pub weight: &'a WeightMatrix,
    /// `[n]`
    pub bias: Option<&'a [f32]>,
}

/// The weights of the first layer of a gated feed-forward.
#[derive(Clone, Copy, Debug)]
pub enum GatedWeights<'a> {
    /// Values and gates are halves of one layer's outputs.
    Fused(LayerWeights<'a>, Gate),
    /// Values and gates are the outputs of a layer each.
    Pair {
        /// The layer of the values.
        values: LayerWeights<'a>,
        /// The layer of the gates.
        gates: LayerWeights<'a>,
        /// Of the gates.
        activation: Activation,
    },
}

impl<'a> GatedWeights<'a> {
    /// The layer of the values and what its outputs go through.
    fn factor(self) -> (LayerWeights<'a>, FactorGate<'a, f32>) {
        match self {
            GatedWeights::Fused(layer, Gate { activation, gate_first }) => {
                let outputs = layer.weight.outputs() / 2;
                let (values, gates) = if gate_first { (outputs, 0) } else { (0, outputs) };
                let LayerWeights { weight, bias } = layer;
                (layer, FactorGate { activation, outputs, values, weight, bias, gates })
            }
            GatedWeights::Pair { values, gates: LayerWeights { weight, bias }, activation } => {
                let outputs = values.weight.outputs();
                (values, FactorGate { activation, outputs, values: 0, weight, bias, gates: 0 })
            }
        }
    }
}

/// The first layer of a gated feed-forward with [`Gate::GEGLU`], in `f32`.
///
/// # Panics
/// As [`gemm_gated`].
pub fn gemm_geglu(x: &[f32], weight: &WeightMatrix, bias: Option<&[f32]>, out: &mut [f32]) {
    gemm_geglu_with(Isa::best(), Precision::F32, x, weight, bias, out);
}

/// As [`gemm_geglu`], on a given instruction set and in a given precision.
///
/// # Panics
/// As [`gemm_geglu`], and if the CPU lacks the instruction set.
pub fn gemm_geglu_with(
    isa: Isa,
    precision: Precision,
    x: &[f32],
    weight: &WeightMatrix,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let weights = GatedWeights::Fused(LayerWeights { weight, bias }, Gate::GEGLU);
    gemm_gated_with(isa, precision, x, weights, out);
}

/// The first layer of a gated feed-forward (Shazeer, GLU Variants Improve Transformer, 2020): values and gates are
/// `x · weightᵀ + bias`, the result is `value * activation(gate)`, `[m, width]`. Where values and gates are whole panels the
/// products themselves are never stored.
///
/// # Panics
/// If the length of a slice disagrees with a weight, the outputs of a fused one are odd, or those of two differ.
pub fn gemm_gated(precision: Precision, x: &[f32], weights: GatedWeights<'_>, out: &mut [f32]) {
    gemm_gated_with(Isa::best(), precision, x, weights, out);
}

/// As [`gemm_gated`], on a given instruction set.
///
/// # Panics
/// As [`gemm_gated`], and if the CPU lacks the instruction set.
pub fn gemm_gated_with(
    isa: Isa,
    precision: Precision,
    x: &[f32],
    weights: GatedWeights<'_>,
    out: &mut [f32],
) {
    let (LayerWeights { weight, bias }, gate) = weights.factor();
    let (k, width) = (weight.inputs(), gate.outputs);
    let is_pair = matches!(weights, GatedWeights::Pair { .. });
    if is_pair {
        let found = (gate.weight.outputs(), gate.weight.inputs());
        assert_eq!(found, (width, k), "gates of other sizes than values");
    } else {
        assert!(weight.outputs().is_multiple_of(2), "{} outputs are not two halves", weight.outputs());
    }
    let (residual, accumulate) = (None, false);
    if width.is_multiple_of(panel_width(precision, isa)) {
        let end = FactorEnd::Gated(gate);
        let rows = MatrixRows::new(x, k);
        product_in(
            precision,
            isa,
            &rows,
            x.len() / k,
            &mut [Factor { weight, bias, residual, accumulate, end, out }],
        );
        return;
    }
    let m = x.len() / k;
    let product = |layer: LayerWeights<'_>, out: &mut [f32]| {
        let LayerWeights { weight, bias } = layer;
        gemm_many_with(isa, x, &mut [Product { weight, bias, residual, accumulate, precision, out }]);
    };
    match weights {
        GatedWeights::Fused(layer, gate) => {
            let mut both = vec![0.0; m * 2 * width];
            product(layer, &mut both);
            gated_with(isa, gate, &both, width, out);
        }
        GatedWeights::Pair { values, gates, activation } => {
            let mut all = vec![0.0; m * width];
            product(gates, &mut all);
            product(values, out);
            multiply_activated_with(isa, activation, out, &all);
        }
    }
}

/// `out = activation(x · weightᵀ + bias)`.
///
/// # Panics
/// If the length of a slice disagrees with the weight.
pub fn gemm_activated(
    precision: Precision,
    x: &[f32],
    layer: LayerWeights<'_>,
    kind: Activation,
    out: &mut [f32],
) {
    gemm_activated_with(Isa::best(), precision, x, layer, kind, out);
}

/// As [`gemm_activated`], on a given instruction set.
///
/// # Panics
/// As [`gemm_activated`], and if the CPU lacks the instruction set.
pub fn gemm_activated_with(
    isa: Isa,
    precision: Precision,
    x: &[f32],
    LayerWeights { weight, bias }: LayerWeights<'_>,
    kind: Activation,
    out: &mut [f32],
) {
    let k = weight.inputs();
    let end = FactorEnd::Activated(kind);
    let factor = Factor { weight, bias, residual: None, accumulate: false, end, out };
    product_in(precision, isa, &MatrixRows::new(x, k), x.len() / k, &mut [factor]);
}
