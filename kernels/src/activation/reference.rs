//! The specification, in `f64`.

use super::{Activation, Gate, LEAKY_SLOPE};

/// One value of an activation.
#[must_use]
pub fn activate(kind: Activation, x: f32) -> f32 {
    let x = f64::from(x);
    let y = match kind {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => x * normal_distribution(x),
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x * (1.0 + inner.tanh()) / 2.0
        }
        // NaN stays NaN.
        Activation::Relu if x < 0.0 => 0.0,
        Activation::LeakyRelu if x < 0.0 => f64::from(LEAKY_SLOPE) * x,
        Activation::Relu | Activation::LeakyRelu => x,
    };
    y as f32
}

/// `Φ(x)`: its Taylor series near 0, its continued fraction far out (Abramowitz and Stegun, Handbook of Mathematical
/// Functions, 26.2.10 and 26.2.14).
fn normal_distribution(x: f64) -> f64 {
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() < 4.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..100 {
            term *= -x * x * f64::from(2 * n - 1) / f64::from(2 * n * (2 * n + 1));
            sum += term;
        }
        return 0.5 + sum / (2.0 * std::f64::consts::PI).sqrt();
    }
    let fraction = (1..60).rev().fold(0.0, |rest, n| f64::from(n) / (x.abs() + rest));
    let tail = density / (x.abs() + fraction);
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// `value * activation(gate)` for each row of `2 width`.
#[must_use]
pub fn gated(gate: Gate, x: &[f32], width: usize) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> {
        let (value, gates) = gate.halves(row);
        value.iter().zip(gates).map(|(v, g)| v * activate(gate.activation, *g)).collect()
    };
    x.chunks_exact(2 * width).flat_map(row).collect()
}

/// [`gated`] with [`Gate::GEGLU`].
#[must_use]
pub fn geglu(x: &[f32], width: usize) -> Vec<f32> {
    gated(Gate::GEGLU, x, width)
}
