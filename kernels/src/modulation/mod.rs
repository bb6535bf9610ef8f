//! The modulations of a diffusion transformer's block by vectors that depend on the time step and the prompt (adaLN-Zero; Peebles
//! and Xie, Scalable Diffusion Models with Transformers, 2022, section 3.2). Both are bound by memory, so the compiler's vectorisation
//! is enough. Fused with a norm they are [`crate::layer_norm::layer_norm_modulated`] and
//! [`crate::rms_norm::rms_norm_modulated`].

#[cfg(feature = "gpu")]
pub mod gpu;
pub mod reference;
mod simd;
#[cfg(test)]
mod tests;

use crate::parallel;
use crate::simd::Isa;

/// `x = x (1 + scale) + shift`: `x` `[batch, tokens, width]`, `scale` and `shift` `[batch, width]`, on the fastest instruction
/// set.
///
/// # Panics
/// If the lengths disagree.
pub fn modulate(x: &mut [f32], scale: &[f32], shift: &[f32], batch: usize) {
    modulate_with(Isa::best(), x, scale, shift, batch);
}

/// As [`modulate`], on a given instruction set.
///
/// # Panics
/// As [`modulate`], and if the CPU lacks the instruction set.
pub fn modulate_with(isa: Isa, x: &mut [f32], scale: &[f32], shift: &[f32], batch: usize) {
    let Some(width) = assert_lengths(x.len(), [scale.len(), shift.len()], batch) else { return };
    let sequence = x.len() / batch;
    let vectors = scale.chunks_exact(width).zip(shift.chunks_exact(width));
    for (x, (scale, shift)) in x.chunks_exact_mut(sequence).zip(vectors) {
        parallel::chunks_mut(x, parallel::grain(width), |_, x| isa.run(simd::Modulate { x, scale, shift }));
    }
}

/// `x += gate y`: `x` and `y` `[batch, tokens, width]`, `gate` `[batch, width]`, on the fastest instruction set.
///
/// # Panics
/// If the lengths disagree.
pub fn add_gated(x: &mut [f32], y: &[f32], gate: &[f32], batch: usize) {
    add_gated_with(Isa::best(), x, y, gate, batch);
}

/// As [`add_gated`], on a given instruction set.
///
/// # Panics
/// As [`add_gated`], and if the CPU lacks the instruction set.
pub fn add_gated_with(isa: Isa, x: &mut [f32], y: &[f32], gate: &[f32], batch: usize) {
    assert_eq!(x.len(), y.len(), "sum of different lengths");
    let Some(width) = assert_lengths(x.len(), [gate.len(); 2], batch) else { return };
    let sequence = x.len() / batch;
    let pairs = x.chunks_exact_mut(sequence).zip(y.chunks_exact(sequence));
    for ((x, y), gate) in pairs.zip(gate.chunks_exact(width)) {
        let piece = parallel::grain(width);
        parallel::chunks_mut(x, piece, |i, x| {
            let y = &y[i * piece..][..x.len()];
            isa.run(simd::AddGated { x, y, gate });
        });
    }
}

/// Checks the lengths of the arrays, on either device, and returns the channels of a token, if there is a token.
fn assert_lengths(x: usize, vectors: [usize; 2], batch: usize) -> Option<usize> {
    assert!(
        vectors[0] == vectors[1] && vectors[0].is_multiple_of(batch.max(1)),
        "vectors for {batch} sequences"
    );
    assert!(x.is_multiple_of(vectors[0].max(1)), "{x} values are not {batch} sequences of such vectors");
    (x > 0).then(|| vectors[0] / batch)
}
