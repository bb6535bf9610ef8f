//! 2-D convolution of channels-last pictures, as implicit matrix product.
//!
//! A convolution is a matrix product whose left side has a row for each output pixel and a column for each tap and
//! input channel. That matrix is never built: the micro-kernel takes, for each tap, pointers to the input pixels
//! themselves, and a row of zeros outside the picture (Dukhan, The Indirect Convolution Algorithm, 2019). A 1x1
//! convolution of stride 1 is a plain matrix product of pixels.

mod implicit_gemm;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::dtype::WeightBytes;
use crate::gemm::PackedMatrix;
use crate::simd::Isa;

/// Rows and columns of zeros around the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Above.
    pub top: usize,
    /// Below.
    pub bottom: usize,
    /// To the left.
    pub left: usize,
    /// To the right.
    pub right: usize,
}

impl Padding {
    /// The same on all four sides.
    #[must_use]
    pub fn all(n: usize) -> Padding {
        Padding { top: n, bottom: n, left: n, right: n }
    }
}

/// A convolution's weight, packed for the matrix product in the order (tap, channel).
#[derive(Clone, Debug)]
pub struct PackedConv {
    matrix: PackedMatrix,
    kernel: usize,
    stride: usize,
    padding: Padding,
}

impl PackedConv {
    /// Packs a weight `[out, in, kernel, kernel]`, as `torch.nn.Conv2d` stores it.
    ///
    /// # Panics
    /// If `weight` has another number of values, or `kernel` or `stride` is 0.
    #[must_use]
    pub fn new(
        weight: WeightBytes<'_>,
        out_channels: usize,
        in_channels: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
    ) -> PackedConv {
        assert!(kernel > 0 && stride > 0, "a convolution of kernel {kernel}, stride {stride}");
        let taps = kernel * kernel;
        let matrix = PackedMatrix::with_index(weight, out_channels, in_channels * taps, |out, column| {
            let (tap, channel) = (column / in_channels, column % in_channels);
            (out * in_channels + channel) * taps + tap
        });
        PackedConv { matrix, kernel, stride, padding }
    }

    /// Channels that it takes.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.matrix.inputs() / (self.kernel * self.kernel)
    }

    /// Channels that it gives.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.matrix.outputs()
    }

    /// Height and width of the output for an input of `height` x `width`; `None` if the kernel is larger than the
    /// padded input.
    #[must_use]
    pub fn output_size(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        let length =
            |input: usize, pad: usize| Some((input + pad).checked_sub(self.kernel)? / self.stride + 1);
        let Padding { top, bottom, left, right } = self.padding;
        Some((length(height, top + bottom)?, length(width, left + right)?))
    }

    /// Bytes of memory that the weight takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.matrix.bytes()
    }
}

/// Convolves a picture `[batch, height, width, in]` to `[batch, height', width', out]`, adds `bias` `[out]` and
/// `residual` (the output's shape), on the fastest instruction set. `height'` and `width'` are
/// [`PackedConv::output_size`].
///
/// # Panics
/// If the length of a slice disagrees with the shapes, or the kernel is larger than the padded input.
pub fn conv2d(
    x: &[f32],
    [batch, height, width]: [usize; 3],
    weight: &PackedConv,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    out: &mut [f32],
) {
    conv2d_with(Isa::best(), x, [batch, height, width], weight, bias, residual, out);
}

/// As [`conv2d`], on a given instruction set.
///
/// # Panics
/// As [`conv2d`], and if the CPU lacks the instruction set.
pub fn conv2d_with(
    isa: Isa,
    x: &[f32],
    [batch, height, width]: [usize; 3],
    weight: &PackedConv,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    out: &mut [f32],
) {
    let channels = weight.in_channels();
    assert_eq!(x.len(), batch * height * width * channels, "input [{batch}, {height}, {width}, {channels}]");
    implicit_gemm::conv2d(isa, x, [batch, height, width], weight, bias, residual, out);
}
