//! Layer normalisation of rows (Ba, Kiros and Hinton, Layer Normalization, 2016).

#[cfg(feature = "gpu")]
pub mod gpu;
pub mod reference;
mod simd;
#[cfg(test)]
mod tests;

use crate::parallel;
use crate::simd::Isa;

/// `(x - mean) / sqrt(variance + eps) * weight + bias` for each row of `weight.len()` values, on the fastest
/// instruction set.
///
/// # Panics
/// If the length of a slice disagrees.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    layer_norm_with(Isa::best(), x, weight, bias, eps, out);
}

/// As [`layer_norm`], on a given instruction set.
///
/// # Panics
/// As [`layer_norm`], and if the CPU lacks the instruction set.
pub fn layer_norm_with(isa: Isa, x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    assert_lengths(x.len(), width, bias.len(), out.len());
    let piece = parallel::grain(width);
    parallel::chunks_mut(out, piece, |i, out| {
        isa.run(simd::NormaliseRows { x: &x[i * piece..][..out.len()], weight, bias, eps, out });
    });
}

/// Checks the lengths of the arrays, on either device.
fn assert_lengths(x: usize, weight: usize, bias: usize, out: usize) {
    assert!(weight > 0 && bias == weight, "a weight of {weight} and a bias of {bias}");
    assert!(x.is_multiple_of(weight), "{x} values are not rows of {weight}");
    assert_eq!(out, x, "output");
}
