//! 2-D convolution of channels-last pictures: 3x3 of stride 1 by Winograd's algorithm (`winograd/`), all else as implicit
//! matrix product (`implicit_gemm.rs`).
//!
//! A convolution is a matrix product whose left side has a row for each output pixel and a column for each tap and
//! input channel. That matrix is never built: the micro-kernel takes, for each tap, pointers to the input pixels
//! themselves, and a row of zeros outside the picture (Dukhan, The Indirect Convolution Algorithm, 2019). A 1x1
//! convolution of stride 1 is a plain matrix product of pixels.

mod band;
mod geometry;
#[cfg(feature = "gpu")]
pub mod gpu;
mod implicit_gemm;
pub mod reference;
#[cfg(test)]
mod tests;
mod winograd;

pub use band::{BAND_UNIT, Band, Rows};
pub use geometry::{ConvGeometry, Padding};

use crate::gemm::{Weight, WeightMatrix};
use crate::simd::Isa;
use std::sync::OnceLock;

/// A convolution's weight, as it lies in its file.
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

    /// Channels that it takes.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.matrix.inputs()
    }

    /// Channels that it gives.
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

/// A normalisation to apply to the input: `y = (x - mean) scale + bias` for each channel, then SiLU if asked for.
/// [`crate::group_norm::Statistics`] makes one.
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
    /// The part for `len` channels of one picture.
    fn of(&self, picture: usize, channel: usize, len: usize) -> Norm<'a> {
        let at = picture * self.bias.len() + channel;
        let part = |values: &'a [f32], at: usize| &values[at..][..len];
        Norm {
            mean: part(self.mean, at),
            scale: part(self.scale, at),
            bias: part(self.bias, channel),
            silu: self.silu,
        }
    }
}

/// A convolution together with what stands before and after it in a model, so that none of it is a pass over memory of
/// its own.
#[derive(Clone, Copy, Debug)]
pub struct Fused<'a> {
    /// The picture `[batch, height, width, in]`, or the rows of it that `band` says are held.
    pub x: &'a [f32],
    /// `[batch, height, width]` of the whole picture.
    pub shape: [usize; 3],
    /// Normalise it first.
    pub norm: Option<Norm<'a>>,
    /// Then resize it to this height and width, by nearest neighbour.
    pub resize: Option<[usize; 2]>,
    /// Add this to the result: `[out]`, or `[batch, out]`.
    pub bias: Option<&'a [f32]>,
    /// Add this too: the result's shape.
    pub residual: Option<&'a [f32]>,
    /// Add to what the output holds.
    pub accumulate: bool,
    /// Only some rows of the output, from only some of the input; all where `None`. They are the same, bit for bit, as in the
    /// whole output.
    pub band: Option<Band>,
}

impl<'a> Fused<'a> {
    /// A convolution of a picture, and nothing else.
    #[must_use]
    pub fn plain(x: &'a [f32], shape: [usize; 3]) -> Fused<'a> {
        Fused {
            x,
            shape,
            norm: None,
            resize: None,
            bias: None,
            residual: None,
            accumulate: false,
            band: None,
        }
    }

    /// `[batch, height, width]` of what is convolved, all of it.
    #[must_use]
    pub fn size(&self) -> [usize; 3] {
        let [batch, height, width] = self.shape;
        let [height, width] = self.resize.unwrap_or([height, width]);
        [batch, height, width]
    }

    /// The rows of the picture that `x` holds.
    fn held(&self) -> Rows {
        self.band.map_or(Rows { start: 0, end: self.shape[1] }, |band| band.held)
    }

    /// The rows of the output that are computed, and its width.
    fn wanted(&self, weight: &ConvWeight) -> (Rows, usize) {
        let [_, height, width] = self.size();
        let (height, width) = weight.output_size(height, width).expect("a kernel within the padded input");
        (self.band.map_or(Rows { start: 0, end: height }, |band| band.wanted), width)
    }

    /// A pixel of the resized picture, in a row that is held.
    #[inline]
    fn pixel(&self, picture: usize, y: usize, x: usize) -> &'a [f32] {
        let [batch, height, width] = self.shape;
        let (y, x) = match self.resize {
            Some([to_height, to_width]) => (y * height / to_height, x * width / to_width),
            None => (y, x),
        };
        let held = self.held();
        let channels = self.x.len() / (batch * held.count() * width);
        &self.x[((picture * held.count() + y - held.start) * width + x) * channels..][..channels]
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

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The direct sum, as a matrix product.
    ImplicitGemm,
    /// F(4x4, 3x3): for 3x3 of stride 1.
    Winograd,
}

/// Environment variable that forces an algorithm, for comparisons and bug reports: `direct`, or `winograd` where it can be.
pub const ALGORITHM_VARIABLE: &str = "LATENT_CONV";

impl Algorithm {
    /// The faster one for a convolution, or what [`ALGORITHM_VARIABLE`] asks for. A value that is unknown is passed over here; a
    /// program that wants to tell its user checks with [`Algorithm::from_environment`] first.
    #[must_use]
    pub fn best(weight: &ConvWeight) -> Algorithm {
        static FORCED: OnceLock<Option<Algorithm>> = OnceLock::new();
        let forced = *FORCED.get_or_init(|| Algorithm::from_environment().ok().flatten());
        let fits = winograd::fits(weight);
        if fits && forced != Some(Algorithm::ImplicitGemm) {
            Algorithm::Winograd
        } else {
            Algorithm::ImplicitGemm
        }
    }

    /// What [`ALGORITHM_VARIABLE`] asks for, if it is set.
    ///
    /// # Errors
    /// One line, if the value is unknown.
    pub fn from_environment() -> Result<Option<Algorithm>, String> {
        match std::env::var(ALGORITHM_VARIABLE).as_deref() {
            Err(_) => Ok(None),
            Ok("direct") => Ok(Some(Algorithm::ImplicitGemm)),
            Ok("winograd") => Ok(Some(Algorithm::Winograd)),
            Ok(other) => Err(format!("{ALGORITHM_VARIABLE}={other:?} is neither direct nor winograd")),
        }
    }
}

/// Convolves a picture `[batch, height, width, in]` to `[batch, height', width', out]`, adds `bias` `[out]` and
/// `residual` (the output's shape), on the fastest instruction set and by the fastest algorithm. `height'` and `width'`
/// are [`ConvWeight::output_size`].
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
    fused(&Fused { bias, residual, ..Fused::plain(x, shape) }, weight, out);
}

/// A convolution with what stands before and after it. Where the algorithm cannot fuse, the parts run one by one.
///
/// # Panics
/// As [`conv2d`], or if a band is off the grid of [`BAND_UNIT`] rows or follows from rows that are not held.
pub fn fused(conv: &Fused<'_>, weight: &ConvWeight, out: &mut [f32]) {
    fused_with(Isa::best(), Algorithm::best(weight), conv, weight, out);
}

/// As [`fused`], on a given instruction set and by a given algorithm.
///
/// # Panics
/// As [`fused`], if the CPU lacks the instruction set, or if the algorithm is not for this convolution.
pub fn fused_with(isa: Isa, algorithm: Algorithm, conv: &Fused<'_>, weight: &ConvWeight, out: &mut [f32]) {
    conv.assert_lengths(weight, out);
    match algorithm {
        Algorithm::Winograd => {
            assert!(
                weight.geometry.kernel == 3 && weight.geometry.stride == 1,
                "Winograd is for 3x3 of stride 1"
            );
            winograd::conv2d(isa, conv, weight, out);
        }
        Algorithm::ImplicitGemm => implicit_gemm::conv2d(isa, conv, weight, out),
    }
}
