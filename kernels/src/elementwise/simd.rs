//! What is more than a sum or a product.

use crate::simd::{Simd, SimdOp, sigmoid};

/// `a = (a + b) (sigmoid(a) - 1/2)`
pub(super) struct ParameterFreeAttention<'a> {
    pub(super) a: &'a mut [f32],
    pub(super) b: &'a [f32],
}

#[inline(always)]
fn value<S: Simd>(s: S, a: S::F32, b: S::F32) -> S::F32 {
    s.mul(s.add(a, b), s.sub(sigmoid(s, a), s.splat(0.5)))
}

impl SimdOp for ParameterFreeAttention<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (a, b) in self.a.chunks_mut(S::LANES).zip(self.b.chunks(S::LANES)) {
            if a.len() == S::LANES {
                let attended = value(s, s.load(a), s.load(b));
                s.store(a, attended);
            } else {
                let attended = value(s, s.load_partial(a, 0.0), s.load_partial(b, 0.0));
                s.store_partial(a, attended);
            }
        }
    }
}
