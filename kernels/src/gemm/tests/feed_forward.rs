//! Products that end in an activation or a gate have the bits of the product followed by it.

use super::*;
use crate::activation::{Activation, Gate, activate_with, gated_with, multiply_activated_with};

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];

/// Half-precision weights `[n, k]`.
fn matrix(seed: u64, n: usize, k: usize) -> WeightMatrix {
    let bytes = to_bytes(&random(seed, n * k), DType::F16);
    WeightMatrix::new(WeightBytes::new(DType::F16, &bytes), n, k)
}

fn product(
    isa: Isa,
    precision: Precision,
    x: &[f32],
    weight: &WeightMatrix,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / weight.inputs() * weight.outputs()];
    let (residual, accumulate) = (None, false);
    gemm_many_with(isa, x, &mut [Product { weight, bias, residual, accumulate, precision, out: &mut out }]);
    out
}

/// Runs `f` with one thread and with three, for each instruction set and precision.
fn in_every_way(f: impl Fn(Isa, Precision) + Sync + Send) {
    for isa in Isa::available() {
        for precision in PRECISIONS {
            for threads in [1, 3] {
                parallel::with_threads(threads, || f(isa, precision)).unwrap();
            }
        }
    }
}

#[test]
fn an_activated_product_is_product_then_activation() {
    // Panels with a remainder and without, one part of the sum and several.
    for (m, n, k) in [(100, 65, 40), (130, 48, 900), (1, 7, 33), (0, 16, 8)] {
        let (x, bias, weight) = (random(1, m * k), random(3, n), matrix(2, n, k));
        in_every_way(|isa, precision| {
            for (kind, bias) in [(Activation::GeluTanh, Some(&bias[..])), (Activation::Silu, None)] {
                let mut want = product(isa, precision, &x, &weight, bias);
                activate_with(isa, kind, &mut want);
                let mut got = vec![f32::NAN; m * n];
                let layer = LayerWeights { weight: &weight, bias };
                gemm_activated_with(isa, precision, &x, layer, kind, &mut got);
                assert_eq!(got, want, "{isa} {precision:?} {m}x{n}x{k}");
            }
        });
    }
}

#[test]
fn gates_before_values_are_product_then_gate() {
    let gate = Gate { activation: Activation::GeluTanh, gate_first: true };
    for (m, width, k) in [(100, 64, 40), (130, 96, 900), (7, 20, 30)] {
        let (x, bias, weight) = (random(1, m * k), random(3, 2 * width), matrix(2, 2 * width, k));
        in_every_way(|isa, precision| {
            for gate in [Gate::SWIGLU, gate] {
                let mut want = vec![f32::NAN; m * width];
                gated_with(isa, gate, &product(isa, precision, &x, &weight, Some(&bias)), width, &mut want);
                let mut got = vec![f32::NAN; m * width];
                let layer = LayerWeights { weight: &weight, bias: Some(&bias) };
                gemm_gated_with(isa, precision, &x, GatedWeights::Fused(layer, gate), &mut got);
                assert_eq!(got, want, "{isa} {precision:?} {m}x{width}x{k}");
            }
        });
    }
}

#[test]
fn gates_of_another_layer_are_product_then_gate() {
    for (m, width, k) in [(100, 64, 40), (130, 96, 900), (7, 20, 30)] {
        let (x, bias) = (random(1, m * k), random(3, width));
        let (up, gate) = (matrix(2, width, k), matrix(4, width, k));
        in_every_way(|isa, precision| {
            for (value_bias, gate_bias) in [(None, None), (Some(&bias[..]), None), (None, Some(&bias[..]))] {
                let mut want = product(isa, precision, &x, &up, value_bias);
                let gates = product(isa, precision, &x, &gate, gate_bias);
                multiply_activated_with(isa, Activation::Silu, &mut want, &gates);
                let weights = GatedWeights::Pair {
                    values: LayerWeights { weight: &up, bias: value_bias },
                    gates: LayerWeights { weight: &gate, bias: gate_bias },
                    activation: Activation::Silu,
                };
                let mut got = vec![f32::NAN; m * width];
                gemm_gated_with(isa, precision, &x, weights, &mut got);
                assert_eq!(got, want, "{isa} {precision:?} {m}x{width}x{k}");
            }
        });
    }
}

#[test]
#[should_panic(expected = "gates of other sizes than values")]
fn values_and_gates_have_the_same_sizes() {
    let (up, gate) = (matrix(1, 16, 4), matrix(1, 32, 4));
    let layer = |weight| LayerWeights { weight, bias: None };
    let weights =
        GatedWeights::Pair { values: layer(&up), gates: layer(&gate), activation: Activation::Silu };
    gemm_gated(Precision::F32, &[0.0; 4], weights, &mut [0.0; 16]);
}
