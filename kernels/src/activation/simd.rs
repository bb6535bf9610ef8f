//! The activations on vectors.

use super::{Activation, Gate, LEAKY_SLOPE};
use crate::simd::{Simd, SimdOp, exp2_below, sigmoid, silu};

/// `x Φ(x)`, absolute error below 2e-7 (1 + `|x|`).
///
/// `Φ(-|x|) = erfc(|x| / √2) / 2` by the rational approximation of Hastings, error below 1.5e-7 (Abramowitz and Stegun,
/// Handbook of Mathematical Functions, 7.1.26). As `Φ(|x|)` is 1 less that, `x Φ(x) = max(x, 0) - |x| Φ(-|x|)`.
#[inline(always)]
fn gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    const P: f32 = 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2;
    // a5, ..., a1, times -1/2
    const A: [f32; 5] = [-0.530_702_7, 0.726_576_7, -0.710_706_9, 0.142_248_36, -0.127_414_8];
    let size = s.abs(x);
    let t = s.div(s.splat(1.0), s.mul_add(size, s.splat(P), s.splat(1.0)));
    let mut p = s.splat(A[0]);
    for &a in &A[1..] {
        p = s.mul_add(p, t, s.splat(a));
    }
    let normal = exp2_below(s, s.mul(s.mul(x, x), s.splat(-0.5 * std::f32::consts::LOG2_E)));
    let minus_tail = s.mul(s.mul(p, t), normal);
    s.mul_add(size, minus_tail, s.max(s.splat(0.0), x))
}

/// `x (1 + tanh(u)) / 2 = x sigmoid(2 u)`, where `u = sqrt(2 / π) (x + 0.044715 x³)`; absolute error below 3e-7 `|x|`.
#[inline(always)]
fn gelu_tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    /// `2 sqrt(2 / π)`
    const K: f32 = 1.595_769_2;
    let slope = s.mul_add(s.mul(x, x), s.splat(0.044_715 * K), s.splat(K));
    s.mul(x, sigmoid(s, s.mul(x, slope)))
}

#[inline(always)]
fn value<S: Simd>(s: S, kind: Activation, x: S::F32) -> S::F32 {
    match kind {
        Activation::Silu => silu(s, x),
        Activation::Gelu => gelu(s, x),
        Activation::QuickGelu => s.mul(x, sigmoid(s, s.mul(x, s.splat(1.702)))),
        Activation::GeluTanh => gelu_tanh(s, x),
        // The order of the operands keeps a NaN a NaN.
        Activation::Relu => s.max(s.splat(0.0), x),
        // The slope is below 1, so the product is the larger one below 0.
        Activation::LeakyRelu => s.max(s.mul(x, s.splat(LEAKY_SLOPE)), x),
    }
}

/// An activation in place.
pub(super) struct Activate<'a> {
    pub(super) kind: Activation,
    pub(super) x: &'a mut [f32],
}

impl SimdOp for Activate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for x in self.x.chunks_mut(S::LANES) {
            if x.len() == S::LANES {
                let y = value(s, self.kind, s.load(x));
                s.store(x, y);
            } else {
                let y = value(s, self.kind, s.load_partial(x, 0.0));
                s.store_partial(x, y);
            }
        }
    }
}

/// `value * activation(gate)` of some values.
#[inline(always)]
fn multiply_activated<S: Simd>(s: S, kind: Activation, values: &[f32], gate: &[f32], out: &mut [f32]) {
    let vectors = values.chunks(S::LANES).zip(gate.chunks(S::LANES));
    for ((v, gate), out) in vectors.zip(out.chunks_mut(S::LANES)) {
        if out.len() == S::LANES {
            s.store(out, s.mul(s.load(v), value(s, kind, s.load(gate))));
        } else {
            let gated = value(s, kind, s.load_partial(gate, 0.0));
            s.store_partial(out, s.mul(s.load_partial(v, 0.0), gated));
        }
    }
}

/// A gated activation of rows of `2 width` values.
pub(super) struct GateRows<'a> {
    gate: Gate,
    x: &'a [f32],
    width: usize,
    out: *mut f32,
    stride: usize,
}

impl<'a> GateRows<'a> {
    /// # Safety
    /// - `out` is valid for writes of a row of `width` values for each row of `x`, `stride` apart.
    /// - Nothing else accesses these rows until the kernel has run.
    pub(super) unsafe fn new(
        gate: Gate,
        x: &'a [f32],
        width: usize,
        out: *mut f32,
        stride: usize,
    ) -> GateRows<'a> {
        GateRows { gate, x, width, out, stride }
    }
}

impl SimdOp for GateRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (i, row) in self.x.chunks_exact(2 * self.width).enumerate() {
            let (value, gate) = self.gate.halves(row);
            // SAFETY: `new` requires a valid row of the output for each row of `x`.
            let out = unsafe { std::slice::from_raw_parts_mut(self.out.add(i * self.stride), self.width) };
            multiply_activated(s, self.gate.activation, value, gate, out);
        }
    }
}

/// `values *= activation(gates)`
pub(super) struct MultiplyActivated<'a> {
    pub(super) kind: Activation,
    pub(super) values: &'a mut [f32],
    pub(super) gates: &'a [f32],
}

impl SimdOp for MultiplyActivated<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (values, gates) in self.values.chunks_mut(S::LANES).zip(self.gates.chunks(S::LANES)) {
            if values.len() == S::LANES {
                let product = s.mul(s.load(values), value(s, self.kind, s.load(gates)));
                s.store(values, product);
            } else {
                let gated = value(s, self.kind, s.load_partial(gates, 0.0));
                let product = s.mul(s.load_partial(values, 0.0), gated);
                s.store_partial(values, product);
            }
        }
    }
}
