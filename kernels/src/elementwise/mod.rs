//! Elementwise arithmetic, and concatenation of channels. Nearly all are bound by memory, so the compiler's vectorisation is
//! enough.

#[cfg(feature = "gpu")]
pub mod gpu;
pub mod reference;
mod simd;
#[cfg(test)]
mod tests;

use crate::parallel;
use crate::simd::Isa;
use std::ops::Range;

/// `a += b`.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign(a: &mut [f32], b: &[f32]) {
    assert_sum_lengths(a.len(), b.len());
    parallel::chunks_mut(a, parallel::GRAIN, |i, a| {
        let b = &b[i * parallel::GRAIN..][..a.len()];
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    });
}

/// `x *= k`.
pub fn scale(x: &mut [f32], k: f32) {
    parallel::chunks_mut(x, parallel::GRAIN, |_, x| x.iter_mut().for_each(|v| *v *= k));
}

/// Adds a vector `[batch, channels]` to every position of `x` `[batch, positions, channels]`.
///
/// # Panics
/// If the lengths disagree.
pub fn add_per_channel(x: &mut [f32], vector: &[f32], batch: usize, channels: usize) {
    assert_vector_lengths(x.len(), vector.len(), batch, channels);
    let image = x.len() / batch.max(1);
    for (x, vector) in x.chunks_exact_mut(image.max(1)).zip(vector.chunks_exact(channels)) {
        parallel::chunks_mut(x, parallel::grain(channels), |_, x| {
            for pixel in x.chunks_exact_mut(channels) {
                pixel.iter_mut().zip(vector).for_each(|(x, v)| *x += v);
            }
        });
    }
}

/// PReLU (He et al., Delving Deep into Rectifiers, 2015): each value of `x` `[positions, channels]` where it is negative, times
/// its channel's slope.
///
/// # Panics
/// If the lengths disagree.
pub fn prelu(x: &mut [f32], slopes: &[f32]) {
    let channels = slopes.len();
    assert_vector_lengths(x.len(), channels, 1, channels);
    parallel::chunks_mut(x, parallel::grain(channels), |_, x| {
        for pixel in x.chunks_exact_mut(channels) {
            // NaN stays NaN.
            pixel.iter_mut().zip(slopes).for_each(|(x, slope)| *x = if *x < 0.0 { *x * slope } else { *x });
        }
    });
}

/// Attention without parameters (Wan et al., Swift Parameter-free Attention Network, 2024, equation 4), on the fastest
/// instruction set: `a = (a + b) (sigmoid(a) - 1/2)`. The error is at most 1e-6 `|a + b|`.
///
/// # Panics
/// If the lengths differ.
pub fn parameter_free_attention(a: &mut [f32], b: &[f32]) {
    parameter_free_attention_with(Isa::best(), a, b);
}

/// As [`parameter_free_attention`], on a given instruction set.
///
/// # Panics
/// If the lengths differ, or the CPU lacks the instruction set.
pub fn parameter_free_attention_with(isa: Isa, a: &mut [f32], b: &[f32]) {
    assert_sum_lengths(a.len(), b.len());
    parallel::chunks_mut(a, parallel::GRAIN, |i, a| {
        let b = &b[i * parallel::GRAIN..][..a.len()];
        isa.run(simd::ParameterFreeAttention { a, b });
    });
}

/// Concatenates the channels of `a` `[positions, a_channels]` and `b` `[positions, b_channels]`.
///
/// # Panics
/// If the lengths disagree.
pub fn concat_channels(a: &[f32], a_channels: usize, b: &[f32], b_channels: usize, out: &mut [f32]) {
    let width = a_channels + b_channels;
    assert_concat_lengths([a.len(), b.len()], [a_channels, b_channels], out.len());
    let piece = parallel::grain(width);
    parallel::chunks_mut(out, piece, |i, out| {
        let first = i * piece / width;
        let parts = a[first * a_channels..]
            .chunks_exact(a_channels)
            .zip(b[first * b_channels..].chunks_exact(b_channels));
        for (out, (a, b)) in out.chunks_exact_mut(width).zip(parts) {
            out[..a_channels].copy_from_slice(a);
            out[a_channels..].copy_from_slice(b);
        }
    });
}

/// Some channels of `x` `[positions, channels]`.
///
/// # Panics
/// If the lengths disagree, or there are no such channels.
pub fn slice_channels(x: &[f32], channels: usize, part: Range<usize>, out: &mut [f32]) {
    assert_slice_lengths(x.len(), channels, &part, out.len());
    let width = part.len();
    let piece = parallel::grain(width);
    parallel::chunks_mut(out, piece, |i, out| {
        let first = i * piece / width;
        for (out, x) in out.chunks_exact_mut(width).zip(x[first * channels..].chunks_exact(channels)) {
            out.copy_from_slice(&x[part.clone()]);
        }
    });
}

/// Classifier-free guidance (Ho and Salimans 2022): `out = without + k (with - without)`.
///
/// # Panics
/// If the lengths differ.
pub fn guidance(without: &[f32], with: &[f32], k: f32, out: &mut [f32]) {
    assert!(without.len() == with.len() && with.len() == out.len(), "guidance of different lengths");
    for ((out, without), with) in out.iter_mut().zip(without).zip(with) {
        *out = without + k * (with - without);
    }
}

/// Checks the lengths of two summands, on either device.
fn assert_sum_lengths(a: usize, b: usize) {
    assert_eq!(a, b, "sum of different lengths");
}

/// Checks the lengths of images and of a vector for each of them, on either device.
fn assert_vector_lengths(x: usize, vector: usize, batch: usize, channels: usize) {
    assert_eq!(vector, batch * channels, "a vector [{batch}, {channels}]");
    let fits = channels > 0 && x.is_multiple_of((batch * channels).max(1));
    assert!(fits, "{x} values for {batch} x {channels}");
}

/// Checks the lengths of an array and of some of its channels, on either device.
fn assert_slice_lengths(x: usize, channels: usize, part: &Range<usize>, out: usize) {
    assert!(part.start < part.end && part.end <= channels, "channels {part:?} of {channels}");
    assert!(x.is_multiple_of(channels), "{x} values are not pixels of {channels}");
    assert_eq!(out, x / channels * part.len(), "output");
}

/// Checks the lengths of two arrays with so many channels that are joined, on either device.
fn assert_concat_lengths([a, b]: [usize; 2], [a_channels, b_channels]: [usize; 2], out: usize) {
    assert!(a_channels > 0 && b_channels > 0, "no channels to join");
    let positions = a / a_channels;
    let agree = a == positions * a_channels && b == positions * b_channels;
    assert!(agree && out == positions * (a_channels + b_channels), "{a} and {b} values to {out}");
}
