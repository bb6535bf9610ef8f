//! Root mean square normalisation of rows (Zhang and Sennrich, Root Mean Square Layer Normalization, 2019). A row is a token,
//! or a head of a token: queries and keys are normalised so.

#[cfg(feature = "gpu")]
pub mod gpu;
pub mod reference;
mod simd;
#[cfg(test)]
mod tests;

use crate::parallel;
use crate::simd::Isa;

/// `x / sqrt(mean(x²) + eps) * weight` for each row of `weight.len()` values, on the fastest instruction set.
///
/// # Panics
/// If the length of a slice disagrees.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    rms_norm_with(Isa::best(), x, weight, eps, out);
}

/// As [`rms_norm`], on a given instruction set.
///
/// # Panics
/// As [`rms_norm`], and if the CPU lacks the instruction set.
pub fn rms_norm_with(isa: Isa, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    assert_lengths(x.len(), width, out.len());
    let piece = parallel::grain(width);
    parallel::chunks_mut(out, piece, |i, out| {
        isa.run(simd::ScaleRows { x: &x[i * piece..][..out.len()], weight, eps, out });
    });
}

/// The norm of `batch` sequences `[batch, tokens, width]`, whose result is multiplied by `1 + scale`, `scale` `[batch, width]`
/// (adaptive norms of diffusion transformers; Peebles and Xie, Scalable Diffusion Models with Transformers, 2022), on the fastest
/// instruction set.
///
/// # Panics
/// If the length of a slice disagrees.
pub fn rms_norm_modulated(x: &[f32], weight: &[f32], scale: &[f32], batch: usize, eps: f32, out: &mut [f32]) {
    rms_norm_modulated_with(Isa::best(), x, weight, scale, batch, eps, out);
}

/// As [`rms_norm_modulated`], on a given instruction set.
///
/// # Panics
/// As [`rms_norm_modulated`], and if the CPU lacks the instruction set.
pub fn rms_norm_modulated_with(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    scale: &[f32],
    batch: usize,
    eps: f32,
    out: &mut [f32],
) {
    let width = weight.len();
    assert_lengths(x.len(), width, out.len());
    assert_vector(x.len(), width, scale.len(), batch);
    let sequence = x.len() / batch.max(1);
    if sequence == 0 {
        return;
    }
    let rows = x.chunks_exact(sequence).zip(out.chunks_exact_mut(sequence));
    for ((x, out), scale) in rows.zip(scale.chunks_exact(width)) {
        // A product of a single row with every other: the norm then has one weight.
        let weight: Vec<f32> = weight.iter().zip(scale).map(|(w, s)| w * (1.0 + s)).collect();
        rms_norm_with(isa, x, &weight, eps, out);
    }
}

/// Checks the lengths of the arrays, on either device.
fn assert_lengths(x: usize, weight: usize, out: usize) {
    assert!(weight > 0 && x.is_multiple_of(weight), "{x} values are not rows of {weight}");
    assert_eq!(out, x, "output");
}

/// Checks the length of a vector for each sequence, on either device.
fn assert_vector(x: usize, width: usize, scale: usize, batch: usize) {
    assert_eq!(scale, batch * width, "scales [{batch}, {width}]");
    assert!(
        x.is_multiple_of((batch * width).max(1)),
        "{x} values are not {batch} sequences of rows of {width}"
    );
}
