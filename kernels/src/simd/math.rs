//! Elementary functions on vectors.

use super::Simd;

/// `e^x`, relative error below 2e-7; 0 below -87.3, and finite (3e38) above 88.
///
/// Range reduction `x = n ln 2 + r`, `|r| <= ln 2 / 2`, with ln 2 in two parts (Cody and Waite, Software Manual for
/// the Elementary Functions, 1980), then the Taylor polynomial of degree 7, whose error there is 1e-8.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // 1/7!, 1/6!, ..., 1/1!, 1/0!
    const TAYLOR: [f32; 8] =
        [1.984_127e-4, 1.388_888_9e-3, 8.333_334e-3, 4.166_666_8e-2, 1.666_666_7e-1, 0.5, 1.0, 1.0];
    // The order of the operands keeps a NaN a NaN.
    let clamped = s.min(s.splat(HIGHEST), s.max(s.splat(LOWEST), x));
    let n = s.round(s.mul(clamped, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), clamped);
    let r = s.mul_add(n, s.splat(-LN2_LOW), r);
    let mut p = s.splat(TAYLOR[0]);
    for &c in &TAYLOR[1..] {
        p = s.mul_add(p, r, s.splat(c));
    }
    s.mul(p, s.exp2_whole(n))
}

/// `2^x`, relative error below 2e-7; 2^-126 (1e-38) below -126, and finite (2e38) above 127.
///
/// `x = n + r` with `|r| <= 1/2`, then a polynomial of degree 5, fitted so that its largest relative error there is least
/// (9e-8, Remez exchange) under the condition that 2^0 is 1.
#[inline(always)]
pub fn exp2<S: Simd>(s: S, x: S::F32) -> S::F32 {
    #[expect(
        clippy::approx_constant,
        reason = "fitted, and near ln 2 because the best polynomial is near Taylor's"
    )]
    const FITTED: [f32; 6] = [1.326_472_6e-3, 9.671_513e-3, 5.550_733_6e-2, 2.402_224_2e-1, 6.931_47e-1, 1.0];
    // The order of the operands keeps a NaN a NaN.
    let clamped = s.min(s.splat(127.0), s.max(s.splat(-126.0), x));
    let n = s.round(clamped);
    let r = s.sub(clamped, n);
    let mut p = s.splat(FITTED[0]);
    for &c in &FITTED[1..] {
        p = s.mul_add(p, r, s.splat(c));
    }
    s.mul(p, s.exp2_whole(n))
}

/// The logistic function `1 / (1 + e^-x)`, absolute error below 2e-7.
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp2(s, s.mul(x, s.splat(-std::f32::consts::LOG2_E)))))
}
