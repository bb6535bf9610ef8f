//! The three transforms of F(4x4, 3x3), vectors running along channels.
//!
//! A correlation of 4 outputs with 3 taps is the evaluation of polynomials at six points, a product at each, and an
//! interpolation (Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for
//! Convolutional Neural Networks, 2016). The points are 0, ±3/4, ±3/2 and infinity: with them all factors stay near 1,
//! and the rounding error is two thirds of that of the usual 0, ±1, ±2 (measured in `tests.rs`). Two dimensions are
//! the same transform down the columns, then along the rows.
//!
//! With `M(x) = x (x² - A²) (x² - B²)`, the row of a point `p` is: for the input, the coefficients of `M(x) / (x - p)`;
//! for the filter, `1, p, p²` over `M'(p)`; for the output, the powers of `p`.

use crate::simd::Simd;

/// Outputs of a tile, each way.
pub(in crate::conv2d) const OUT: usize = 4;
/// Inputs of a tile, each way, and points.
pub(super) const IN: usize = 6;
/// Products of a tile.
pub(super) const POINTS: usize = IN * IN;

const A: f32 = 0.75;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;

/// `a x + b`
#[inline(always)]
fn plus<S: Simd>(s: S, a: f32, x: S::F32, b: S::F32) -> S::F32 {
    s.mul_add(s.splat(a), x, b)
}

/// Six inputs to six points.
#[inline(always)]
pub(super) fn input<S: Simd>(s: S, d: [S::F32; IN]) -> [S::F32; IN] {
    // x⁴ - (A² + B²) x² + A² B², and the same times x
    let zero = plus(s, AA * BB, d[0], plus(s, -AA - BB, d[2], d[4]));
    let infinity = plus(s, AA * BB, d[1], plus(s, -AA - BB, d[3], d[5]));
    // (x ± A) x (x² - B²), then (x ± B) x (x² - A²)
    let (even_a, odd_a) = (plus(s, -BB, d[2], d[4]), plus(s, -BB, d[1], d[3]));
    let (even_b, odd_b) = (plus(s, -AA, d[2], d[4]), plus(s, -AA, d[1], d[3]));
    [
        zero,
        plus(s, A, odd_a, even_a),
        plus(s, -A, odd_a, even_a),
        plus(s, B, odd_b, even_b),
        plus(s, -B, odd_b, even_b),
        infinity,
    ]
}

/// Three taps to six points.
#[inline(always)]
pub(super) fn filter<S: Simd>(s: S, g: [S::F32; 3]) -> [S::F32; IN] {
    // 1 / M'(p)
    const AT_ZERO: f32 = 1.0 / (AA * BB);
    const AT_A: f32 = 1.0 / (2.0 * AA * (AA - BB));
    const AT_B: f32 = 1.0 / (2.0 * BB * (BB - AA));
    let even_a = plus(s, AA * AT_A, g[2], s.mul(s.splat(AT_A), g[0]));
    let even_b = plus(s, BB * AT_B, g[2], s.mul(s.splat(AT_B), g[0]));
    [
        s.mul(s.splat(AT_ZERO), g[0]),
        plus(s, A * AT_A, g[1], even_a),
        plus(s, -A * AT_A, g[1], even_a),
        plus(s, B * AT_B, g[1], even_b),
        plus(s, -B * AT_B, g[1], even_b),
        g[2],
    ]
}

/// Six points to four outputs.
#[inline(always)]
pub(super) fn output<S: Simd>(s: S, m: [S::F32; IN]) -> [S::F32; OUT] {
    let (sum_a, difference_a) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (sum_b, difference_b) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    [
        s.add(m[0], s.add(sum_a, sum_b)),
        plus(s, A, difference_a, s.mul(s.splat(B), difference_b)),
        plus(s, AA, sum_a, s.mul(s.splat(BB), sum_b)),
        plus(s, A * AA, difference_a, plus(s, B * BB, difference_b, m[5])),
    ]
}
