//! Rotary position embeddings of queries and keys (Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding,
//! 2021), of one axis or of several (an image's rows and columns).
//!
//! A table has a row for each token: the cosines of `width / 2` angles, then their sines.

#[cfg(feature = "gpu")]
pub mod gpu;
pub mod reference;
mod simd;
#[cfg(test)]
mod tests;

use crate::parallel;
use crate::simd::Isa;

/// Which channels of a head are the two coordinates that are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotaryPairing {
    /// `2 i` and `2 i + 1`, as Flux and Z-Image have it.
    Interleaved,
    /// `i` and `i + width / 2`, as Llama and Qwen have it.
    Halves,
}

/// The shape of a rotation: `[batch, tokens, heads, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotary {
    /// Sequences.
    pub batch: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Heads of a token.
    pub heads: usize,
    /// Channels of a head, an even number.
    pub width: usize,
    /// Which channels belong together.
    pub pairing: RotaryPairing,
}

impl Rotary {
    /// Checks the lengths of the arrays, on either device.
    fn assert_lengths(&self, x: usize, table: usize) {
        let Rotary { batch, tokens, heads, width, .. } = *self;
        assert!(heads > 0 && width > 0 && width.is_multiple_of(2), "heads of an even width: {self:?}");
        assert_eq!(x, batch * tokens * heads * width, "values of {self:?}");
        assert!(
            table == tokens * width || table == batch * tokens * width,
            "a table of {table} values for {self:?}"
        );
    }
}

/// The table of tokens at `positions`, each with a coordinate for each axis. The angles of axis `a` are
/// `position theta^(-2 i / axes[a])`, `i` from 0 to `axes[a] / 2 - 1`; those of one axis follow those of the one before.
/// Angles are computed in `f64`.
///
/// # Panics
/// If an axis is odd.
#[must_use]
pub fn table<const AXES: usize>(axes: [usize; AXES], theta: f64, positions: &[[f64; AXES]]) -> Vec<f32> {
    assert!(axes.iter().all(|axis| axis.is_multiple_of(2)), "odd axes: {axes:?}");
    let frequency = |axis: usize, i: usize| theta.powf(-((2 * i) as f64) / axis as f64);
    let frequencies: Vec<Vec<f64>> =
        axes.iter().map(|&axis| (0..axis / 2).map(|i| frequency(axis, i)).collect()).collect();
    let mut out = Vec::with_capacity(positions.len() * axes.iter().sum::<usize>());
    for position in positions {
        let of_axis = |(at, axis): (&f64, &Vec<f64>)| axis.iter().map(|f| at * f).collect::<Vec<f64>>();
        let angles: Vec<f64> = position.iter().zip(&frequencies).flat_map(of_axis).collect();
        out.extend(angles.iter().map(|angle| angle.cos() as f32));
        out.extend(angles.iter().map(|angle| angle.sin() as f32));
    }
    out
}

/// Rotates each pair of channels of `x` `[batch, tokens, heads, width]` by its angle in `table`, `[tokens, width]` for all
/// sequences or `[batch, tokens, width]`; in place, on the fastest instruction set.
///
/// # Panics
/// If the length of a slice disagrees with `shape`, or the width is odd.
pub fn rotary(shape: Rotary, x: &mut [f32], table: &[f32]) {
    rotary_with(Isa::best(), shape, x, table);
}

/// As [`rotary`], on a given instruction set.
///
/// # Panics
/// As [`rotary`], and if the CPU lacks the instruction set.
pub fn rotary_with(isa: Isa, shape: Rotary, x: &mut [f32], table: &[f32]) {
    shape.assert_lengths(x.len(), table.len());
    let Rotary { heads, width, pairing, .. } = shape;
    let piece = parallel::grain(heads * width);
    parallel::chunks_mut(x, piece, |i, x| {
        let first = i * piece / (heads * width);
        isa.run(simd::Rotate { x, first, heads, width, pairing, table });
    });
}
