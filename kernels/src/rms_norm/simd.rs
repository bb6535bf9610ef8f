//! Two passes over a row, which stays in L1: the sum of squares, then the result.

use crate::simd::{Simd, SimdOp};

/// Vectors whose squares are summed side by side: a single chain would wait for each sum.
const CHAINS: usize = 4;

/// An RMS norm of some rows.
pub(super) struct ScaleRows<'a> {
    pub(super) x: &'a [f32],
    pub(super) weight: &'a [f32],
    pub(super) eps: f32,
    pub(super) out: &'a mut [f32],
}

impl SimdOp for ScaleRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let mean = sum_of_squares(s, x) / width as f32;
            let inverse = s.splat(1.0 / (mean + self.eps).sqrt());
            let vectors = x.chunks(S::LANES).zip(self.weight.chunks(S::LANES));
            for ((x, weight), out) in vectors.zip(out.chunks_mut(S::LANES)) {
                if out.len() == S::LANES {
                    s.store(out, s.mul(s.mul(s.load(x), inverse), s.load(weight)));
                } else {
                    let scaled = s.mul(s.load_partial(x, 0.0), inverse);
                    s.store_partial(out, s.mul(scaled, s.load_partial(weight, 0.0)));
                }
            }
        }
    }
}

#[inline(always)]
fn sum_of_squares<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut sums = [s.splat(0.0); CHAINS];
    let (blocks, rest) = x.split_at(x.len() / (CHAINS * S::LANES) * (CHAINS * S::LANES));
    for block in blocks.chunks_exact(CHAINS * S::LANES) {
        for (sum, x) in sums.iter_mut().zip(block.chunks_exact(S::LANES)) {
            let v = s.load(x);
            *sum = s.mul_add(v, v, *sum);
        }
    }
    let mut total = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
    for x in rest.chunks(S::LANES) {
        let v = if x.len() == S::LANES { s.load(x) } else { s.load_partial(x, 0.0) };
        total = s.mul_add(v, v, total);
    }
    s.reduce_add(total)
}
