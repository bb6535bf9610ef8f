//! Activations: SiLU, GELU, quick GELU, ReLU, leaky ReLU, and the gated GELU of a feed-forward.

#[cfg(feature = "gpu")]
pub mod gpu;
pub mod reference;
mod simd;
#[cfg(test)]
mod tests;

use crate::parallel;
use crate::simd::Isa;

/// An elementwise activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x sigmoid(x)` (Elfwing et al. 2018; "swish").
    Silu,
    /// `x Φ(x)`, exact (Hendrycks and Gimpel, Gaussian Error Linear Units, 2016).
    Gelu,
    /// `x sigmoid(1.702 x)`, as OpenAI's CLIP has it.
    QuickGelu,
    /// `max(x, 0)` (Nair and Hinton 2010).
    Relu,
    /// `x` where it is positive, else [`LEAKY_SLOPE`] `x` (Maas et al., Rectifier Nonlinearities, 2013).
    LeakyRelu,
}

/// Slope of [`Activation::LeakyRelu`] below 0, as ESRGAN has it.
pub const LEAKY_SLOPE: f32 = 0.2;

/// Applies an activation in place, on the fastest instruction set. The error is at most 1e-6 + 1e-6 `|x|`.
pub fn activate(kind: Activation, x: &mut [f32]) {
    activate_with(Isa::best(), kind, x);
}

/// As [`activate`], on a given instruction set.
///
/// # Panics
/// If the CPU lacks the instruction set.
pub fn activate_with(isa: Isa, kind: Activation, x: &mut [f32]) {
    parallel::chunks_mut(x, parallel::GRAIN, |_, x| isa.run(simd::Activate { kind, x }));
}

/// The gated GELU (GEGLU; Shazeer, GLU Variants Improve Transformer, 2020), on the fastest instruction set: rows of
/// `2 width`, a value half before a gate half, to rows of `width`: `value * gelu(gate)`.
///
/// # Panics
/// If `x` is not a whole number of such rows, or `out` is not half as long.
pub fn geglu(x: &[f32], width: usize, out: &mut [f32]) {
    geglu_with(Isa::best(), x, width, out);
}

/// As [`geglu`], on a given instruction set.
///
/// # Panics
/// As [`geglu`], and if the CPU lacks the instruction set.
pub fn geglu_with(isa: Isa, x: &[f32], width: usize, out: &mut [f32]) {
    assert_geglu_lengths(x.len(), width, out.len());
    let piece = parallel::grain(width);
    parallel::chunks_mut(out, piece, |i, out| {
        let x = &x[2 * i * piece..][..2 * out.len()];
        // SAFETY: `out` is borrowed for writing, and is half as long as `x`: a row for each.
        isa.run(unsafe { simd::Geglu::new(x, width, out.as_mut_ptr(), width) });
    });
}

/// The gated GELU on the calling thread, where the rows of the result are `stride` apart.
///
/// # Safety
/// - `out` is valid for writes of a row of `width` values for each row of `x`, `stride` apart, and nothing else accesses
///   these rows meanwhile.
pub(crate) unsafe fn geglu_rows(isa: Isa, x: &[f32], width: usize, out: *mut f32, stride: usize) {
    // SAFETY: the caller's promise is the one needed.
    isa.run(unsafe { simd::Geglu::new(x, width, out, stride) });
}

/// Checks the lengths of the arrays of a gated GELU, on either device.
fn assert_geglu_lengths(x: usize, width: usize, out: usize) {
    assert!(width > 0 && x.is_multiple_of(2 * width), "{x} values are not rows of 2 x {width}");
    assert_eq!(out, x / 2, "output");
}
