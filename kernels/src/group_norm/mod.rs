//! Group normalisation of channels-last images (Wu and He, Group Normalization, 2018), optionally followed by SiLU.

#[cfg(feature = "gpu")]
pub mod gpu;
pub mod reference;
mod simd;
#[cfg(test)]
mod tests;

use crate::simd::Isa;

/// The shape of a group norm over images `[batch, positions, channels]`, and its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNormParams {
    /// Images; each has statistics of its own.
    pub batch: usize,
    /// Pixels of an image.
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

impl GroupNormParams {
    /// Checks the lengths of the arrays, on either device.
    fn assert_lengths(&self, x: usize, weight: usize, bias: usize, out: usize) {
        self.assert_sizes();
        assert_eq!(x, self.batch * self.positions * self.channels, "input of {self:?}");
        assert_eq!(out, x, "output of {self:?}");
        assert!(weight == self.channels && bias == self.channels, "weight and bias of {self:?}");
    }

    fn assert_sizes(&self) {
        let is_empty = self.groups == 0 || self.positions == 0 || self.channels == 0;
        assert!(!is_empty, "an empty group norm {self:?}");
        assert_eq!(self.channels % self.groups, 0, "groups do not divide the channels: {self:?}");
    }
}

/// `(x - mean) / sqrt(variance + eps) * weight + bias` with mean and variance over each image's groups, on the fastest
/// instruction set.
///
/// # Panics
/// If the length of a slice disagrees with `shape`, or the groups do not divide the channels.
pub fn group_norm(shape: GroupNormParams, x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    group_norm_with(Isa::best(), shape, x, weight, bias, out);
}

/// As [`group_norm`], on a given instruction set.
///
/// # Panics
/// As [`group_norm`], and if the CPU lacks the instruction set.
pub fn group_norm_with(
    isa: Isa,
    shape: GroupNormParams,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    out: &mut [f32],
) {
    shape.assert_lengths(x.len(), weight.len(), bias.len(), out.len());
    let statistics = Statistics::with(isa, shape, x, weight);
    apply_with(isa, x, &statistics.norm(bias, shape.silu), out);
}

/// A normalisation to apply: `y = (x - mean) scale + bias` for each channel, then SiLU if asked for. [`Statistics::norm`]
/// makes one.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// `[batch, channels]`
    pub mean: &'a [f32],
    /// `[batch, channels]`
    pub scale: &'a [f32],
    /// `[channels]`
    pub bias: &'a [f32],
    /// Apply `y sigmoid(y)`.
    pub silu: bool,
}

impl<'a> Norm<'a> {
    /// The part for `len` channels of one image.
    pub(crate) fn channels(&self, image: usize, first: usize, len: usize) -> Norm<'a> {
        let at = image * self.bias.len() + first;
        let part = |values: &'a [f32], at: usize| &values[at..][..len];
        Norm {
            mean: part(self.mean, at),
            scale: part(self.scale, at),
            bias: part(self.bias, first),
            silu: self.silu,
        }
    }
}

/// The part of a group norm that reads the whole image; what remains is an affine map of each channel, which a convolution
/// can apply while it reads.
#[derive(Clone, Debug)]
pub struct Statistics {
    mean: Vec<f32>,
    scale: Vec<f32>,
}

impl Statistics {
    /// Mean and scale (`weight` over the standard deviation) of each channel of each image, on a given instruction set.
    ///
    /// # Panics
    /// If the length of a slice disagrees with `shape`, the groups do not divide the channels, or the CPU lacks the
    /// instruction set.
    #[must_use]
    pub fn with(isa: Isa, shape: GroupNormParams, x: &[f32], weight: &[f32]) -> Statistics {
        let mut sums = GroupNormSums::with(isa, shape);
        sums.add(x);
        sums.statistics(weight)
    }

    /// The map to apply.
    ///
    /// # Panics
    /// If the map is applied and `bias` has another length than the weight.
    #[must_use]
    pub fn norm<'a>(&'a self, bias: &'a [f32], silu: bool) -> Norm<'a> {
        Norm { mean: &self.mean, scale: &self.scale, bias, silu }
    }
}

/// [`Statistics`] of images that arrive a run of pixels at a time. They are the same, bit for bit, for any runs.
#[derive(Clone, Debug)]
pub struct GroupNormSums {
    isa: Isa,
    shape: GroupNormParams,
    state: simd::PixelSums,
}

impl GroupNormSums {
    /// Sums of no pixels yet, to be added up on the fastest instruction set.
    ///
    /// # Panics
    /// If `shape` is empty or the groups do not divide the channels.
    #[must_use]
    pub fn new(shape: GroupNormParams) -> GroupNormSums {
        GroupNormSums::with(Isa::best(), shape)
    }

    /// As [`GroupNormSums::new`], on a given instruction set.
    ///
    /// # Panics
    /// As [`GroupNormSums::new`]; adding panics if the CPU lacks the instruction set.
    #[must_use]
    pub fn with(isa: Isa, shape: GroupNormParams) -> GroupNormSums {
        shape.assert_sizes();
        GroupNormSums { isa, shape, state: simd::PixelSums::new(shape) }
    }

    /// Adds the next pixels, the same number of each image: `[batch, pixels, channels]`.
    ///
    /// # Panics
    /// If they are not whole pixels, or more than the images have.
    pub fn add(&mut self, x: &[f32]) {
        let GroupNormParams { batch, positions, channels, .. } = self.shape;
        let pixels = x.len() / (batch * channels).max(1);
        let fits = x.len() == batch * pixels * channels && self.state.seen + pixels <= positions;
        assert!(fits, "{} values after {} pixels of {:?}", x.len(), self.state.seen, self.shape);
        self.state.add(self.isa, self.shape, x);
    }

    /// Mean and scale of each channel, after all pixels were added.
    ///
    /// # Panics
    /// If pixels are missing, or `weight` has another length than the channels.
    #[must_use]
    pub fn statistics(&self, weight: &[f32]) -> Statistics {
        let (shape, seen) = (self.shape, self.state.seen);
        assert!(seen == shape.positions || shape.batch == 0, "input of {shape:?}: {seen} pixels");
        assert_eq!(weight.len(), shape.channels, "weight of {shape:?}");
        self.state.statistics(shape, weight)
    }
}

/// `out = (x - mean) scale + bias` for each channel of each image, then SiLU if asked for, on the fastest instruction
/// set.
///
/// # Panics
/// If the lengths do not agree.
pub fn apply(x: &[f32], norm: &Norm<'_>, out: &mut [f32]) {
    apply_with(Isa::best(), x, norm, out);
}

/// As [`apply`], on a given instruction set.
///
/// # Panics
/// As [`apply`], and if the CPU lacks the instruction set.
pub fn apply_with(isa: Isa, x: &[f32], norm: &Norm<'_>, out: &mut [f32]) {
    let channels = norm.bias.len();
    let batch = norm.mean.len() / channels.max(1);
    assert!(
        channels > 0 && norm.mean.len() == batch * channels && norm.scale.len() == norm.mean.len(),
        "norm"
    );
    assert!(x.len().is_multiple_of(norm.mean.len().max(1)) && out.len() == x.len(), "input and output");
    simd::apply(isa, x, norm, out);
}
