//! Activations: SiLU, GELU and its approximations, ReLU, leaky ReLU, and the gates of a feed-forward.

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
    /// `x (1 + tanh(sqrt(2 / π) (x + 0.044715 x³))) / 2` (same paper; PyTorch's `approximate="tanh"`).
    GeluTanh,
    /// `max(x, 0)` (Nair and Hinton 2010).
    Relu,
    /// `x` where it is positive, else [`LEAKY_SLOPE`] `x` (Maas et al., Rectifier Nonlinearities, 2013).
    LeakyRelu,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Activation; 6] = [
        Activation::Silu,
        Activation::Gelu,
        Activation::QuickGelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::LeakyRelu,
    ];
}

/// A gated activation: of two halves, one is multiplied by the activation of the other (Shazeer, GLU Variants Improve
/// Transformer, 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Of the gate half.
    pub activation: Activation,
    /// Whether the gate half comes before the value half.
    pub gate_first: bool,
}

impl Gate {
    /// `value * gelu(gate)`, as Stable Diffusion's feed-forward has it: values before gates.
    pub const GEGLU: Gate = Gate { activation: Activation::Gelu, gate_first: false };
    /// `silu(gate) * value`, as Flux.2 has it: gates before values.
    pub const SWIGLU: Gate = Gate { activation: Activation::Silu, gate_first: true };

    /// The value half and the gate half of a row.
    fn halves<T>(self, row: &[T]) -> (&[T], &[T]) {
        let (first, second) = row.split_at(row.len() / 2);
        if self.gate_first { (second, first) } else { (first, second) }
    }
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

/// The gated GELU (GEGLU), on the fastest instruction set: [`gated`] with [`Gate::GEGLU`].
///
/// # Panics
/// As [`gated`].
pub fn geglu(x: &[f32], width: usize, out: &mut [f32]) {
    gated(Gate::GEGLU, x, width, out);
}

/// As [`geglu`], on a given instruction set.
///
/// # Panics
/// As [`geglu`], and if the CPU lacks the instruction set.
pub fn geglu_with(isa: Isa, x: &[f32], width: usize, out: &mut [f32]) {
    gated_with(isa, Gate::GEGLU, x, width, out);
}

/// Rows of `2 width`, a value half and a gate half, to rows of `width`: `value * activation(gate)`, on the fastest instruction
/// set.
///
/// # Panics
/// If `x` is not a whole number of such rows, or `out` is not half as long.
pub fn gated(gate: Gate, x: &[f32], width: usize, out: &mut [f32]) {
    gated_with(Isa::best(), gate, x, width, out);
}

/// As [`gated`], on a given instruction set.
///
/// # Panics
/// As [`gated`], and if the CPU lacks the instruction set.
pub fn gated_with(isa: Isa, gate: Gate, x: &[f32], width: usize, out: &mut [f32]) {
    assert_gated_lengths(x.len(), width, out.len());
    let piece = parallel::grain(width);
    parallel::chunks_mut(out, piece, |i, out| {
        let x = &x[2 * i * piece..][..2 * out.len()];
        // SAFETY: `out` is borrowed for writing, and is half as long as `x`: a row for each.
        isa.run(unsafe { simd::GateRows::new(gate, x, width, out.as_mut_ptr(), width) });
    });
}

/// `values *= activation(gates)`, on the fastest instruction set.
///
/// # Panics
/// If the lengths differ.
pub fn multiply_activated(kind: Activation, values: &mut [f32], gates: &[f32]) {
    multiply_activated_with(Isa::best(), kind, values, gates);
}

/// As [`multiply_activated`], on a given instruction set.
///
/// # Panics
/// As [`multiply_activated`], and if the CPU lacks the instruction set.
pub fn multiply_activated_with(isa: Isa, kind: Activation, values: &mut [f32], gates: &[f32]) {
    assert_eq!(values.len(), gates.len(), "values and gates of different lengths");
    parallel::chunks_mut(values, parallel::GRAIN, |i, values| {
        let gates = &gates[i * parallel::GRAIN..][..values.len()];
        isa.run(simd::MultiplyActivated { kind, values, gates });
    });
}

/// [`gated`] on the calling thread, values before gates, where the rows of the result are `stride` apart.
///
/// # Safety
/// - `out` is valid for writes of a row of `width` values for each row of `x`, `stride` apart, and nothing else accesses
///   these rows meanwhile.
pub(crate) unsafe fn gate_rows(
    isa: Isa,
    activation: Activation,
    x: &[f32],
    width: usize,
    out: *mut f32,
    stride: usize,
) {
    let gate = Gate { activation, gate_first: false };
    // SAFETY: the caller's promise is the one needed.
    isa.run(unsafe { simd::GateRows::new(gate, x, width, out, stride) });
}

/// [`activate`] on the calling thread, of rows of `width` values that are `stride` apart.
///
/// # Safety
/// - `x` is valid for reads and writes of `rows` rows of `width` values, `stride` apart, and nothing else accesses these rows
///   meanwhile.
pub(crate) unsafe fn activate_rows(
    isa: Isa,
    kind: Activation,
    x: *mut f32,
    [rows, width, stride]: [usize; 3],
) {
    for row in 0..rows {
        // SAFETY: the caller promises this row.
        let x = unsafe { std::slice::from_raw_parts_mut(x.add(row * stride), width) };
        isa.run(simd::Activate { kind, x });
    }
}

/// Checks the lengths of the arrays of a gated activation, on either device.
fn assert_gated_lengths(x: usize, width: usize, out: usize) {
    assert!(width > 0 && x.is_multiple_of(2 * width), "{x} values are not rows of 2 x {width}");
    assert_eq!(out, x / 2, "output");
}
