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

/// The norm without weight and bias, of `batch` sequences `[batch, tokens, width]`, times `1 + scale` and plus `shift`, both
/// `[batch, width]` (adaLN; Peebles and Xie, Scalable Diffusion Models with Transformers, 2022, section 3.2), on the fastest
/// instruction set.
///
/// # Panics
/// If the length of a slice disagrees.
pub fn layer_norm_modulated(
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    batch: usize,
    eps: f32,
    out: &mut [f32],
) {
    layer_norm_modulated_with(Isa::best(), x, scale, shift, batch, eps, out);
}

/// As [`layer_norm_modulated`], on a given instruction set.
///
/// # Panics
/// As [`layer_norm_modulated`], and if the CPU lacks the instruction set.
pub fn layer_norm_modulated_with(
    isa: Isa,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    batch: usize,
    eps: f32,
    out: &mut [f32],
) {
    let Some(width) = assert_modulated_lengths(x.len(), [scale.len(), shift.len()], batch, out.len()) else {
        return;
    };
    let sequence = x.len() / batch;
    let sequences = x.chunks_exact(sequence).zip(out.chunks_exact_mut(sequence));
    let vectors = scale.chunks_exact(width).zip(shift.chunks_exact(width));
    for ((x, out), (scale, shift)) in sequences.zip(vectors) {
        // In a sequence it is a norm of this weight and bias.
        let weight: Vec<f32> = scale.iter().map(|scale| 1.0 + scale).collect();
        layer_norm_with(isa, x, &weight, shift, eps, out);
    }
}

/// Checks the lengths of the arrays of a modulated norm, on either device, and returns the width of a row, if there is a
/// row.
fn assert_modulated_lengths(x: usize, vectors: [usize; 2], batch: usize, out: usize) -> Option<usize> {
    let [scale, shift] = vectors;
    assert!(scale == shift && scale.is_multiple_of(batch.max(1)), "vectors for {batch} sequences");
    assert!(x.is_multiple_of(scale.max(1)), "{x} values are not {batch} sequences of such vectors");
    assert_eq!(out, x, "output");
    (x > 0).then(|| scale / batch)
}

/// Checks the lengths of the arrays, on either device.
fn assert_lengths(x: usize, weight: usize, bias: usize, out: usize) {
    assert!(weight > 0 && bias == weight, "a weight of {weight} and a bias of {bias}");
    assert!(x.is_multiple_of(weight), "{x} values are not rows of {weight}");
    assert_eq!(out, x, "output");
}
