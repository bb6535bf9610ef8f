//! Every instance of the trait against scalar arithmetic.

use super::*;

/// Applies a unary vector function to a slice.
struct Map<'a, F> {
    x: &'a [f32],
    f: F,
}

trait Unary {
    fn apply<S: Simd>(&self, s: S, v: S::F32) -> S::F32;
}

impl<F: Unary> SimdOp for Map<'_, F> {
    type Output = Vec<f32>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let mut out = vec![0.0; self.x.len()];
        for (x, y) in self.x.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
            let v = self.f.apply(s, s.load_partial(x, 0.0));
            s.store_partial(y, v);
        }
        out
    }
}

struct Exp;
impl Unary for Exp {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, v: S::F32) -> S::F32 {
        exp(s, v)
    }
}
struct Round;
impl Unary for Round {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, v: S::F32) -> S::F32 {
        s.round(v)
    }
}
struct SignedOne;
impl Unary for SignedOne {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, v: S::F32) -> S::F32 {
        s.copysign(s.abs(s.splat(-1.0)), v)
    }
}

fn grid(low: f32, high: f32, n: usize) -> Vec<f32> {
    (0..n).map(|i| low + (high - low) * i as f32 / (n - 1) as f32).collect()
}

#[test]
fn exp_is_exact_to_two_ulps_of_f64() {
    let x = grid(-87.0, 88.0, 100_003);
    for isa in Isa::available() {
        for (&x, y) in x.iter().zip(isa.run(Map { x: &x, f: Exp })) {
            let want = f64::from(x).exp();
            let error = (f64::from(y) - want).abs() / want;
            assert!(error < 2e-7, "{isa}: exp({x}) = {y}, want {want}, relative error {error:e}");
        }
    }
}

#[test]
fn exp_at_the_ends() {
    for isa in Isa::available() {
        let y = isa.run(Map { x: &[-1000.0, f32::NEG_INFINITY, 1000.0, f32::NAN], f: Exp });
        assert!(y[0] >= 0.0 && y[0] < 1.3e-38, "{isa}: {y:?}");
        assert!(y[1] >= 0.0 && y[1] < 1.3e-38, "{isa}: {y:?}");
        assert!(y[2].is_finite() && y[2] > 1e38, "{isa}: {y:?}");
        assert!(y[3].is_nan(), "{isa}: {y:?}");
    }
}

#[test]
fn round_and_signs() {
    let x = [0.5, 1.5, 2.5, -0.5, -1.5, 3.49, -3.51, 0.0, 7.0];
    for isa in Isa::available() {
        let want: Vec<f32> = x.iter().map(|v: &f32| v.round_ties_even()).collect();
        assert_eq!(isa.run(Map { x: &x, f: Round }), want, "{isa}");
        let want: Vec<f32> = x.iter().map(|v| 1f32.copysign(*v)).collect();
        assert_eq!(isa.run(Map { x: &x, f: SignedOne }), want, "{isa}");
    }
}

/// Widens 16-bit values, and reduces them.
struct Widen<'a>(&'a [u16], bool);
impl SimdOp for Widen<'_> {
    type Output = (Vec<f32>, f32, f32);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        assert_eq!(self.0.len() % S::LANES, 0);
        let mut out = vec![0.0; self.0.len()];
        let (mut sum, mut max) = (s.splat(0.0), s.splat(f32::NEG_INFINITY));
        for (x, y) in self.0.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
            // SAFETY: the chunk holds LANES values, by the assertion above.
            let v = unsafe { if self.1 { s.load_bf16_ptr(x.as_ptr()) } else { s.load_f16_ptr(x.as_ptr()) } };
            sum = s.add(sum, v);
            max = s.max(max, v);
            s.store(y, v);
        }
        (out, s.reduce_add(sum), s.reduce_max(max))
    }
}

#[test]
fn sixteen_bit_values_widen_exactly_and_reduce() {
    for isa in Isa::available() {
        let f16: Vec<u16> = (0..=u16::MAX).filter(|b| half::f16::from_bits(*b).is_finite()).collect();
        let f16 = &f16[..f16.len() / MAX_LANES * MAX_LANES];
        for (bits, y) in f16.iter().zip(isa.run(Widen(f16, false)).0) {
            assert_eq!(half::f16::from_bits(*bits).to_f32().to_bits(), y.to_bits(), "{isa}");
        }
        let bf16: Vec<u16> = (1..=32).map(|i| half::bf16::from_f32(i as f32).to_bits()).collect();
        let (wide, sum, max) = isa.run(Widen(&bf16, true));
        assert_eq!(wide, (1..=32).map(|i| i as f32).collect::<Vec<_>>());
        assert_eq!((sum, max), (528.0, 32.0), "{isa}");
    }
}
