//! Elementary functions on vectors.

use super::{ROUND, Simd};

/// `2^x`, relative error below 2e-7; 2^-126 (1e-38) below -126, and finite (2e38) above 127.
///
/// `x = n + r` with `|r| <= 1/2`, then a polynomial of degree 5, fitted to minimise the largest relative error there (9e-8,
/// Remez exchange) under the constraint that 2^0 is 1.
#[inline(always)]
pub fn exp2<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // The order of the operands keeps a NaN a NaN.
    exp2_below(s, s.min(s.splat(127.0), x))
}

/// As [`exp2`], for `x` up to 127.
#[inline(always)]
pub(crate) fn exp2_below<S: Simd>(s: S, x: S::F32) -> S::F32 {
    #[expect(
        clippy::approx_constant,
        reason = "fitted, and near ln 2 because the best polynomial is near Taylor's"
    )]
    const FITTED: [f32; 6] = [1.326_472_6e-3, 9.671_513e-3, 5.550_733_6e-2, 2.402_224_2e-1, 6.931_47e-1, 1.0];
    let clamped = s.max(s.splat(-126.0), x);
    let shifted = s.add(clamped, s.splat(ROUND));
    let r = s.sub(clamped, s.sub(shifted, s.splat(ROUND)));
    let mut p = s.splat(FITTED[0]);
    for &c in &FITTED[1..] {
        p = s.mul_add(p, r, s.splat(c));
    }
    s.scale_exp2(p, shifted)
}

/// The logistic function `1 / (1 + e^-x)`, absolute error below 2e-7.
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.div(s.splat(1.0), one_and_power(s, x))
}

/// `x sigmoid(x)`, absolute error below 2e-7 `|x|`.
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.div(x, one_and_power(s, x))
}

/// `1 + e^-x`
#[inline(always)]
fn one_and_power<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.add(s.splat(1.0), exp2(s, s.mul(x, s.splat(-std::f32::consts::LOG2_E))))
}
