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
    assert!(width > 0 && bias.len() == width, "a weight of {width} and a bias of {}", bias.len());
    assert_eq!(x.len() % width, 0, "{} values are not whole rows of {width}", x.len());
    assert_eq!(out.len(), x.len(), "output");
    let piece = parallel::grain(width);
    parallel::chunks_mut(out, piece, |i, out| {
        isa.run(simd::NormaliseRows { x: &x[i * piece..][..out.len()], weight, bias, eps, out });
    });
}
