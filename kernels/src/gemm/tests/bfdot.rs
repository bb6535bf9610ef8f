//! Arm's `BFDOT` against a model of it.

use super::bf16::{RandomBits, one_tile, tiles};
use super::*;
use crate::gemm::bf16::Bf16Line;
use crate::gemm::bf16::model::value;
use crate::gemm::bf16::pack::round;
use crate::simd::Feature;

/// `x` rounded to odd: toward zero, and to an odd last bit where it was not exact. `error` is what `x` lacks. Results that
/// are denormal before rounding are flushed.
fn to_odd(x: f64, error: f64) -> f32 {
    const DROPPED: u64 = 0x1FFF_FFFF;
    if x.is_nan() {
        return f32::NAN;
    }
    let toward_zero = error != 0.0 && (error < 0.0) != (x < 0.0);
    let bits = x.to_bits() - u64::from(toward_zero);
    let truncated = f64::from_bits(bits & !DROPPED);
    if truncated.abs() >= 2f64.powi(128) {
        return f32::INFINITY.copysign(truncated as f32);
    }
    if truncated.abs() < f64::from(f32::MIN_POSITIVE) {
        return 0f32.copysign(truncated as f32);
    }
    let is_inexact = error != 0.0 || bits & DROPPED != 0;
    f32::from_bits((truncated as f32).to_bits() | u32::from(is_inexact))
}

/// A sum of two `f32`, rounded to odd. The error of the sum in `f64` is exact (Knuth's two-sum).
fn add_to_odd(a: f32, b: f32) -> f32 {
    let (a, b) = (f64::from(a), f64::from(b));
    let sum = a + b;
    let part = sum - a;
    let error = (a - (sum - part)) + (b - part);
    to_odd(sum, if sum.is_finite() { error } else { 0.0 })
}

/// `BFDOT` where `FEAT_EBF16` is missing or off, by the pseudo code of the Arm Architecture Reference Manual: both products,
/// their sum, and that added, each rounded to odd and flushed.
fn dot(sum: f32, a: [u16; 2], b: [u16; 2]) -> f32 {
    let product = |i: usize| to_odd(f64::from(value(a[i])) * f64::from(value(b[i])), 0.0);
    add_to_odd(sum, add_to_odd(product(0), product(1)))
}

#[test]
fn the_model_of_bfdot_rounds_to_odd() {
    let [one, tiny, large] = [1.0, 2f32.powi(-40), 2f32.powi(120)].map(round);
    assert_eq!(dot(0.0, [one, tiny], [one, one]), f32::from_bits(0x3F80_0001));
    assert_eq!(dot(0.0, [one, tiny], [one, round(-1.0)]), f32::from_bits(0x3F7F_FFFF));
    assert_eq!(dot(1.0, [one, one], [one, one]), 3.0);
    assert_eq!(dot(0.0, [large, one], [large, one]), f32::INFINITY);
    assert_eq!(dot(0.0, [round(2f32.powi(-100)), 0], [tiny, 0]), 0.0, "a denormal product");
}

#[test]
fn bfdot_and_its_model_give_the_same_bits() {
    let mut sets = Bf16::kernel_sets().iter();
    let Some(set) = sets.find(|set| set.requires.features.contains(&Feature::NeonBf16)) else { return };
    if !set.requires.is_met(Isa::best()) {
        println!("this CPU has no BFDOT: not tested");
        return;
    }
    let mut bits = RandomBits(0x9E37_79B9_7F4A_7C15);
    for tile in 0..tiles() {
        let kind = tile as u64 % 7;
        let mut line = || Bf16Line(std::array::from_fn(|_| bits.bf16(kind)));
        let rows: Vec<_> = (0..set.lhs.rows).map(|_| line()).collect();
        let panel: Vec<_> = (0..PANEL).map(|_| line()).collect();
        for (i, got) in one_tile(set, &rows, &panel).into_iter().enumerate() {
            let pairs = rows[i / PANEL].0.as_chunks::<2>().0.iter().zip(&panel);
            let want = pairs.fold(0.0, |sum, (a, line)| dot(sum, *a, line.0.as_chunks::<2>().0[i % PANEL]));
            let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
            assert!(same, "tile {tile}, {i}: {got:e}, want {want:e}");
        }
    }
}
