//! Three passes over a row: largest value, exponentials and their sum, division. The attention's online softmax takes
//! the first two from here.

use crate::simd::{Simd, SimdOp, exp2};

pub(super) struct Softmax<'a> {
    pub(super) x: &'a mut [f32],
    pub(super) width: usize,
}

impl SimdOp for Softmax<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.x.chunks_exact_mut(self.width) {
            let max = largest(s, row);
            let inverse = 1.0 / powers(s, row, max, std::f32::consts::LOG2_E);
            row.iter_mut().for_each(|v| *v *= inverse);
        }
    }
}

/// The largest value; minus infinity for none.
#[inline(always)]
pub(crate) fn largest<S: Simd>(s: S, x: &[f32]) -> f32 {
    let (whole, rest) = x.split_at(x.len() / S::LANES * S::LANES);
    let mut max = s.load_partial(rest, f32::NEG_INFINITY);
    for x in whole.chunks_exact(S::LANES) {
        max = s.max(max, s.load(x));
    }
    s.reduce_max(max)
}

/// Replaces `x` by `2^((x - max) unit)` and returns the sum.
#[inline(always)]
pub(crate) fn powers<S: Simd>(s: S, x: &mut [f32], max: f32, unit: f32) -> f32 {
    let (unit, max) = (s.splat(unit), s.splat(max));
    let (whole, rest) = x.split_at_mut(x.len() / S::LANES * S::LANES);
    let mut sum = s.splat(0.0);
    for x in whole.chunks_exact_mut(S::LANES) {
        let e = exp2(s, s.mul(s.sub(s.load(x), max), unit));
        s.store(x, e);
        sum = s.add(sum, e);
    }
    let mut total = s.reduce_add(sum);
    if !rest.is_empty() {
        let e = exp2(s, s.mul(s.sub(s.load_partial(rest, f32::NEG_INFINITY), max), unit));
        s.store_partial(rest, e);
        total += rest.iter().sum::<f32>();
    }
    total
}
