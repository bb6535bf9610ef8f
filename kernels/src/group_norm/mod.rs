//! Group normalisation of channels-last pictures (Wu and He, Group Normalization, 2018), with SiLU on the way out.

pub mod reference;
mod simd;
#[cfg(test)]
mod tests;

use crate::simd::Isa;

/// The shape of a group norm over a picture `[batch, positions, channels]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// Pictures; each has statistics of its own.
    pub batch: usize,
    /// Pixels of a picture.
    pub positions: usize,
    /// Channels of a pixel, a multiple of `groups`.
    pub channels: usize,
    /// Groups of neighbouring channels that share mean and variance.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Apply `y sigmoid(y)` to the result.
    pub silu: bool,
}

impl GroupNorm {
    fn assert_lengths(&self, x: &[f32], weight: &[f32], bias: &[f32], out: &[f32]) {
        assert!(self.groups > 0 && self.positions > 0, "an empty group norm {self:?}");
        assert_eq!(self.channels % self.groups, 0, "groups do not divide the channels: {self:?}");
        assert_eq!(x.len(), self.batch * self.positions * self.channels, "input of {self:?}");
        assert_eq!((weight.len(), bias.len()), (self.channels, self.channels), "weight and bias of {self:?}");
        assert_eq!(out.len(), x.len(), "output of {self:?}");
    }
}

/// `(x - mean) / sqrt(variance + eps) * weight + bias` with mean and variance over each picture's groups, on the
/// fastest instruction set.
///
/// # Panics
/// If the length of a slice disagrees with `shape`, or the groups do not divide the channels.
pub fn group_norm(shape: GroupNorm, x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    group_norm_with(Isa::best(), shape, x, weight, bias, out);
}

/// As [`group_norm`], on a given instruction set.
///
/// # Panics
/// As [`group_norm`], and if the CPU lacks the instruction set.
pub fn group_norm_with(isa: Isa, shape: GroupNorm, x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    shape.assert_lengths(x, weight, bias, out);
    simd::group_norm(isa, shape, x, weight, bias, out);
}
