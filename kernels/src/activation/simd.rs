//! The activations on vectors.

use super::Activation;
use crate::simd::{Simd, SimdOp, exp, sigmoid};

/// `x Φ(x)`, absolute error below 2e-7 (1 + `|x|`).
///
/// `Φ(-|x|) = erfc(|x| / √2) / 2` by the rational approximation of Hastings, error below 1.5e-7 (Abramowitz and Stegun,
/// Handbook of Mathematical Functions, 7.1.26); `Φ(|x|)` is 1 less that.
#[inline(always)]
fn gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    const P: f32 = 0.327_591_1;
    // a5, ..., a1
    const A: [f32; 5] = [1.061_405_4, -1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6];
    let z = s.mul(s.abs(x), s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = s.div(s.splat(1.0), s.mul_add(z, s.splat(P), s.splat(1.0)));
    let mut p = s.splat(A[0]);
    for &a in &A[1..] {
        p = s.mul_add(p, t, s.splat(a));
    }
    let minus_square = s.mul(s.sub(s.splat(0.0), z), z);
    let tail = s.mul(s.mul(s.mul(p, t), exp(s, minus_square)), s.splat(0.5));
    let half = s.splat(0.5);
    s.mul(x, s.add(half, s.copysign(s.sub(half, tail), x)))
}

#[inline(always)]
fn value<S: Simd>(s: S, kind: Activation, x: S::F32) -> S::F32 {
    match kind {
        Activation::Silu => s.mul(x, sigmoid(s, x)),
        Activation::Gelu => gelu(s, x),
        Activation::QuickGelu => s.mul(x, sigmoid(s, s.mul(x, s.splat(1.702)))),
    }
}

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

pub(super) struct Geglu<'a> {
    pub(super) x: &'a [f32],
    pub(super) width: usize,
    pub(super) out: &'a mut [f32],
}

impl SimdOp for Geglu<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (row, out) in self.x.chunks_exact(2 * self.width).zip(self.out.chunks_exact_mut(self.width)) {
            let (value, gate) = row.split_at(self.width);
            let vectors = value.chunks(S::LANES).zip(gate.chunks(S::LANES));
            for ((value, gate), out) in vectors.zip(out.chunks_mut(S::LANES)) {
                if out.len() == S::LANES {
                    s.store(out, s.mul(s.load(value), gelu(s, s.load(gate))));
                } else {
                    let gated = gelu(s, s.load_partial(gate, 0.0));
                    s.store_partial(out, s.mul(s.load_partial(value, 0.0), gated));
                }
            }
        }
    }
}
