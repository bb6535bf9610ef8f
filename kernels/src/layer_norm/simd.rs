//! Three passes over a row, which stays in L1: mean, variance about it, result. The mean is summed from the distance to
//! the row's first value, so that data far from zero keep their digits.

use crate::simd::{Simd, SimdOp};

/// A layer norm of some rows.
pub(super) struct NormaliseRows<'a> {
    pub(super) x: &'a [f32],
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) eps: f32,
    pub(super) out: &'a mut [f32],
}

impl SimdOp for NormaliseRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let first = s.splat(x[0]);
            let mean = x[0] + sum(s, x, x[0], |v| s.sub(v, first)) / width as f32;
            let center = s.splat(mean);
            let square = |v| {
                let distance = s.sub(v, center);
                s.mul(distance, distance)
            };
            // Missing lanes are the mean: their distance is 0.
            let variance = sum(s, x, mean, square) / width as f32;
            let inverse = s.splat(1.0 / (variance + self.eps).sqrt());
            let parameters = self.weight.chunks(S::LANES).zip(self.bias.chunks(S::LANES));
            for ((x, out), (weight, bias)) in x.chunks(S::LANES).zip(out.chunks_mut(S::LANES)).zip(parameters)
            {
                let load = |v: &[f32]| if v.len() == S::LANES { s.load(v) } else { s.load_partial(v, 0.0) };
                let normal = s.mul(s.sub(load(x), center), inverse);
                let y = s.mul_add(normal, load(weight), load(bias));
                if out.len() == S::LANES { s.store(out, y) } else { s.store_partial(out, y) }
            }
        }
    }
}

/// Sum of `f` over the values, the last vector filled up with `fill`, whose `f` is 0.
#[inline(always)]
fn sum<S: Simd>(s: S, x: &[f32], fill: f32, f: impl Fn(S::F32) -> S::F32) -> f32 {
    let (whole, rest) = x.split_at(x.len() / S::LANES * S::LANES);
    let mut total = s.splat(0.0);
    for x in whole.chunks_exact(S::LANES) {
        total = s.add(total, f(s.load(x)));
    }
    if !rest.is_empty() {
        total = s.add(total, f(s.load_partial(rest, fill)));
    }
    s.reduce_add(total)
}
