//! 2-D convolution of channels-last images: 3x3 of stride 1 by Winograd's algorithm (`winograd/`), all else as implicit
//! matrix product (`implicit_gemm.rs`).
//!
//! A convolution is a matrix product whose left side has a row for each output pixel and a column for each tap and
//! input channel. That matrix is never built: the micro-kernel takes, for each tap, pointers to the input pixels
//! themselves, and to a row of zeros outside the image (Dukhan, The Indirect Convolution Algorithm, 2019). A 1x1
//! convolution of stride 1 is a plain matrix product of pixels.

mod algorithm;
mod band;
mod geometry;
#[cfg(feature = "gpu")]
pub mod gpu;
mod implicit_gemm;
pub mod reference;
#[cfg(test)]
mod tests;
mod winograd;

pub use algorithm::{ALGORITHM_VARIABLE, Algorithm, set_algorithm};
pub use band::{BAND_UNIT, Band, RowRange};
pub use geometry::{ConvGeometry, Padding};

use crate::Precision;
use crate::gemm::{Weight, WeightMatrix};
use crate::group_norm::Norm;
use crate::simd::Isa;

/// A convolution's weight, as it is in its file.
#[derive(Clone, Debug)]
pub struct ConvWeight {
    matrix: WeightMatrix,
    geometry: ConvGeometry,
}

impl ConvWeight {
    /// A weight `[out, in, kernel, kernel]`, as `torch.nn.Conv2d` stores it.
    ///
    /// # Panics
    /// If `weight` has another number of values, or `kernel` or `stride` is 0.
    #[must_use]
    pub fn new(
        weight: impl Into<Weight>,
        out_channels: usize,
        in_channels: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
    ) -> ConvWeight {
        assert!(kernel > 0 && stride > 0, "a convolution of kernel {kernel}, stride {stride}");
        let matrix = WeightMatrix::with_taps(weight.into(), out_channels, in_channels, kernel * kernel);
        ConvWeight { matrix, geometry: ConvGeometry { kernel, stride, padding } }
    }

    /// Channels of the input.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.matrix.inputs()
    }

    /// Channels of the output.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.matrix.outputs()
    }

    /// How its kernel walks over an image.
    #[must_use]
    pub fn geometry(&self) -> ConvGeometry {
        self.geometry
    }

    /// As [`ConvGeometry::output_size`].
    #[must_use]
    pub fn output_size(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        self.geometry.output_size(height, width)
    }

    /// Bytes of memory that the weight takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.matrix.bytes()
    }
}

/// A convolution with its prologue (norm, resize) and epilogue (bias, residual), none of which takes a pass over memory of
/// its own.
#[derive(Clone, Copy, Debug)]
pub struct Convolution<'a> {
    /// The input `[batch, height, width, in]`, or the rows of it that `band` says are held.
    pub x: &'a [f32],
    /// `[batch, height, width]` of the whole input.
    pub shape: [usize; 3],
    /// Normalise the input first.
    pub norm: Option<Norm<'a>>,
    /// Then resize it to this height and width, by nearest neighbour.
    pub resize: Option<[usize; 2]>,
    /// Add this to the result: `[out]`, or `[batch, out]`.
    pub bias: Option<&'a [f32]>,
    /// Add this too: the result's shape.
    pub residual: Option<&'a [f32]>,
    /// Add to what the output holds.
    pub accumulate: bool,
    /// What input and weight are multiplied in. In [`Precision::Int8`] only 1x1 convolutions are, and others in `f32`.
    pub precision: Precision,
    /// Only some rows of the output, from only some of the input; all if `None`. They are the same, bit for bit, as in the
    /// whole output.
    pub band: Option<Band>,
}

impl<'a> Convolution<'a> {
    /// A convolution of an input, and nothing else.
    #[must_use]
    pub fn plain(x: &'a [f32], shape: [usize; 3]) -> Convolution<'a> {
        Convolution {
            x,
            shape,
            norm: None,
            resize: None,
            bias: None,
            residual: None,
            accumulate: false,
            precision: Precision::F32,
            band: None,
        }
    }

    /// `[batch, height, width]` of the resized input, all of it.
    #[must_use]
    pub fn size(&self) -> [usize; 3] {
        let [batch, height, width] = self.shape;
        let [height, width] = self.resize.unwrap_or([height, width]);
        [batch, height, width]
    }

    /// The rows of the input that `x` holds.
    fn held(&self) -> RowRange {
        self.band.map_or(RowRange { start: 0, end: self.shape[1] }, |band| band.held)
    }

    /// The rows of the output that are computed, and its width.
    fn wanted(&self, weight: &ConvWeight) -> (RowRange, usize) {
        let [_, height, width] = self.size();
        let (height, width) = weight.output_size(height, width).expect("a kernel within the padded input");
        (self.band.map_or(RowRange { start: 0, end: height }, |band| band.wanted), width)
    }

    /// A pixel of the resized input, in a row that is held.
    #[inline]
    fn pixel(&self, image: usize, y: usize, x: usize) -> &'a [f32] {
        let [batch, height, width] = self.shape;
        let (y, x) = match self.resize {
            Some([to_height, to_width]) => (y * height / to_height, x * width / to_width),
            None => (y, x),
        };
        let held = self.held();
        let channels = self.x.len() / (batch * held.count() * width);
        &self.x[((image * held.count() + y - held.start) * width + x) * channels..][..channels]
    }

    fn assert_lengths(&self, weight: &ConvWeight, out: &[f32]) {
        let [batch, height, width] = self.shape;
        let channels = weight.in_channels();
        let [out_height, out_width] = weight.geometry.assert_output_size(self.shape, self.resize);
        if let Some(band) = self.band {
            weight.geometry.assert_band([height, self.size()[1]], out_height, band);
        }
        let held = self.held().count();
        assert_eq!(
            self.x.len(),
            batch * held * width * channels,
            "input {:?}, {held} rows of it, of {channels} channels",
            self.shape
        );
        if let Some(norm) = self.norm {
            assert_eq!(
                (norm.mean.len(), norm.scale.len()),
                (batch * channels, batch * channels),
                "mean and scale"
            );
            assert_eq!(norm.bias.len(), channels, "bias of the norm");
        }
        let (rows, outputs) = (self.wanted(weight).0.count(), weight.out_channels());
        assert_eq!(out.len(), batch * rows * out_width * outputs, "output [{batch}, {rows}, {out_width}]");
        assert!(self.bias.is_none_or(|b| b.len() == outputs || b.len() == batch * outputs), "bias");
        assert!(self.residual.is_none_or(|r| r.len() == out.len()), "residual");
    }
}

/// Convolves `[batch, height, width, in]` to `[batch, height', width', out]`, adds `bias` `[out]` and `residual` (the
/// output's shape), on the fastest instruction set and by the fastest algorithm. `height'` and `width'` are
/// [`ConvWeight::output_size`].
///
/// # Panics
/// If the length of a slice disagrees with the shapes, or the kernel is larger than the padded input.
pub fn conv2d(
    x: &[f32],
    shape: [usize; 3],
    weight: &ConvWeight,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    out: &mut [f32],
) {
    conv2d_fused(&Convolution { bias, residual, ..Convolution::plain(x, shape) }, weight, out);
}

/// A convolution with its prologue and epilogue. Where the algorithm cannot fuse them, they are passes of their own. In bf16 it
/// is a direct sum always: rounded to 8 bits, the values of Winograd's algorithm, differences of inputs and of weights, would
/// lose five times as much.
///
/// # Panics
/// As [`conv2d`], or if a band is off the grid of [`BAND_UNIT`] rows or depends on rows that are not held.
pub fn conv2d_fused(conv: &Convolution<'_>, weight: &ConvWeight, out: &mut [f32]) {
    let algorithm = match conv.precision {
        Precision::Bf16 => Algorithm::ImplicitGemm,
        Precision::F32 | Precision::Int8 => Algorithm::best(weight),
    };
    conv2d_fused_with(Isa::best(), algorithm, conv, weight, out);
}

/// As [`conv2d_fused`], on a given instruction set and by a given algorithm.
///
/// # Panics
/// As [`conv2d_fused`], if the CPU lacks the instruction set, or if the algorithm is not for this convolution: Winograd is for
/// 3x3 of stride 1, and not for bf16.
pub fn conv2d_fused_with(
    isa: Isa,
    algorithm: Algorithm,
    conv: &Convolution<'_>,
    weight: &ConvWeight,
    out: &mut [f32],
) {
    conv.assert_lengths(weight, out);
    match algorithm {
        Algorithm::Winograd => {
            assert!(
                weight.geometry.kernel == 3 && weight.geometry.stride == 1,
                "Winograd is for 3x3 of stride 1"
            );
            assert!(conv.precision != Precision::Bf16, "Winograd is not for bf16");
            winograd::conv2d(isa, conv, weight, out);
        }
        Algorithm::ImplicitGemm => implicit_gemm::conv2d(isa, conv, weight, out),
    }
}
