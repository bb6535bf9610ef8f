//! Loops that the compiler vectorises for each instruction set.

use crate::simd::{Simd, SimdOp};

/// `x = x (1 + scale) + shift` for some tokens of a sequence.
pub(super) struct Modulate<'a> {
    pub(super) x: &'a mut [f32],
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
}

impl SimdOp for Modulate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for token in self.x.chunks_exact_mut(self.scale.len()) {
            for ((x, scale), shift) in token.iter_mut().zip(self.scale).zip(self.shift) {
                *x = *x * (1.0 + scale) + shift;
            }
        }
    }
}

/// `x += gate y` for some tokens of a sequence.
pub(super) struct AddGated<'a> {
    pub(super) x: &'a mut [f32],
    pub(super) y: &'a [f32],
    pub(super) gate: &'a [f32],
}

impl SimdOp for AddGated<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let width = self.gate.len();
        for (x, y) in self.x.chunks_exact_mut(width).zip(self.y.chunks_exact(width)) {
            for ((x, y), gate) in x.iter_mut().zip(y).zip(self.gate) {
                *x += gate * y;
            }
        }
    }
}
