//! Rotations by loops that the compiler vectorises for each instruction set: a load and a store for each value bound them.

use super::RotaryPairing;
use crate::simd::{Simd, SimdOp};

/// Rotations of the heads of some tokens.
pub(super) struct Rotate<'a> {
    pub(super) x: &'a mut [f32],
    /// Number of the first token, counted over all sequences.
    pub(super) first: usize,
    pub(super) heads: usize,
    pub(super) width: usize,
    pub(super) pairing: RotaryPairing,
    pub(super) table: &'a [f32],
}

impl SimdOp for Rotate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (width, rows) = (self.width, self.table.len() / self.width);
        for (row, token) in self.x.chunks_exact_mut(self.heads * width).enumerate() {
            let angles = &self.table[(self.first + row) % rows * width..][..width];
            let (cos, sin) = angles.split_at(width / 2);
            for head in token.chunks_exact_mut(width) {
                match self.pairing {
                    RotaryPairing::Interleaved => interleaved(head, cos, sin),
                    RotaryPairing::Halves => halves(head, cos, sin),
                }
            }
        }
    }
}

#[inline(always)]
fn interleaved(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    for ((pair, cos), sin) in head.chunks_exact_mut(2).zip(cos).zip(sin) {
        let (re, im) = (pair[0], pair[1]);
        pair[0] = re * cos - im * sin;
        pair[1] = re * sin + im * cos;
    }
}

#[inline(always)]
fn halves(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (res, ims) = head.split_at_mut(cos.len());
    for (((re, im), cos), sin) in res.iter_mut().zip(ims).zip(cos).zip(sin) {
        (*re, *im) = (*re * cos - *im * sin, *re * sin + *im * cos);
    }
}
