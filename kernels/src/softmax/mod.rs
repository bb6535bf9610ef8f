//! Softmax of rows.

#[cfg(feature = "gpu")]
pub mod gpu;
pub mod reference;
mod simd;
#[cfg(test)]
mod tests;

pub(crate) use simd::{largest, powers};

use crate::parallel;
use crate::simd::Isa;

/// `e^(x - max) / sum` in place for each row of `width` values, on the fastest instruction set. An entry of minus
/// infinity becomes about 1e-38; a row of nothing else becomes NaN.
///
/// # Panics
/// If `x` is not a whole number of rows.
pub fn softmax(x: &mut [f32], width: usize) {
    softmax_with(Isa::best(), x, width);
}

/// As [`softmax`], on a given instruction set.
///
/// # Panics
/// As [`softmax`], and if the CPU lacks the instruction set.
pub fn softmax_with(isa: Isa, x: &mut [f32], width: usize) {
    assert_rows(x.len(), width);
    parallel::chunks_mut(x, parallel::grain(width), |_, x| isa.run(simd::SoftmaxRows { x, width }));
}

/// Checks that values are whole rows, on either device.
fn assert_rows(x: usize, width: usize) {
    assert!(width > 0 && x.is_multiple_of(width), "{x} values are not rows of {width}");
}
