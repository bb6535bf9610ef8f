//! Three passes over a row: largest value, exponentials and their sum, division. The online softmax of attention uses the
//! first two.

use crate::simd::{Simd, SimdOp, exp2_below};

/// The softmax of some rows.
pub(super) struct SoftmaxRows<'a> {
    pub(super) x: &'a mut [f32],
    pub(super) width: usize,
}

impl SimdOp for SoftmaxRows<'_> {
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

/// Vectors whose maximum is taken side by side: a single chain would wait for each result.
const CHAINS: usize = 4;

/// The largest value; minus infinity for none.
#[inline(always)]
pub(crate) fn largest<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut maxima = [s.splat(f32::NEG_INFINITY); CHAINS];
    let (blocks, rest) = x.split_at(x.len() / (CHAINS * S::LANES) * (CHAINS * S::LANES));
    for block in blocks.chunks_exact(CHAINS * S::LANES) {
        for (max, x) in maxima.iter_mut().zip(block.chunks_exact(S::LANES)) {
            *max = s.max(*max, s.load(x));
        }
    }
    let [mut max, others @ ..] = maxima;
    for other in others {
        max = s.max(max, other);
    }
    for x in rest.chunks(S::LANES) {
        max = s.max(max, if x.len() == S::LANES { s.load(x) } else { s.load_partial(x, f32::NEG_INFINITY) });
    }
    s.reduce_max(max)
}

/// Replaces `x` by `2^((x - max) unit)` and returns the sum; no value is above `max`.
#[inline(always)]
pub(crate) fn powers<S: Simd>(s: S, x: &mut [f32], max: f32, unit: f32) -> f32 {
    let (unit, max) = (s.splat(unit), s.splat(max));
    let (whole, rest) = x.split_at_mut(x.len() / S::LANES * S::LANES);
    let mut sum = s.splat(0.0);
    for x in whole.chunks_exact_mut(S::LANES) {
        let e = exp2_below(s, s.mul(s.sub(s.load(x), max), unit));
        s.store(x, e);
        sum = s.add(sum, e);
    }
    let mut total = s.reduce_add(sum);
    if !rest.is_empty() {
        let e = exp2_below(s, s.mul(s.sub(s.load_partial(rest, f32::NEG_INFINITY), max), unit));
        s.store_partial(rest, e);
        total += rest.iter().sum::<f32>();
    }
    total
}
