//! On a GPU: an implicit matrix product, whose tiles gather their pixels (`pixels.wgsl`).

use super::{ConvWeight, Padding};
use crate::gemm::gpu::run::{Addends, BINDINGS, Params, Pictures, Run, rows_at_once};
use crate::gemm::gpu::tile::{self, Method};
use crate::gemm::gpu::{PackedWeight, matrices, sources};
use crate::gpu::{Array, Gpu, GpuError, Shader};
use std::ops::Range;

pub(crate) static CONV2D: Shader = Shader {
    name: "conv2d",
    sources: &sources(include_str!("pixels.wgsl")),
    bindings: &BINDINGS,
    params: size_of::<Params>(),
    variants: tile::variants,
};

/// A convolution's weight, packed for the GPU.
#[derive(Clone, Debug)]
pub struct PackedConv {
    weight: PackedWeight,
    /// Without its values.
    shape: Shape,
}

/// How a kernel walks over a picture.
#[derive(Clone, Copy, Debug)]
struct Shape {
    kernel: usize,
    stride: usize,
    padding: Padding,
}

impl PackedConv {
    /// As [`PackedWeight::new`].
    ///
    /// # Errors
    /// No memory, a lost GPU.
    pub fn new(gpu: &Gpu, weight: &ConvWeight, half: bool) -> Result<PackedConv, GpuError> {
        let ConvWeight { matrix, kernel, stride, padding } = weight;
        let weight = PackedWeight::new(gpu, matrix, half)?;
        Ok(PackedConv { weight, shape: Shape { kernel: *kernel, stride: *stride, padding: *padding } })
    }

    /// Channels that it takes.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.weight.inputs()
    }

    /// Channels that it gives.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.weight.outputs()
    }

    /// Bytes of the GPU's memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.weight.bytes()
    }

    /// As [`ConvWeight::output_size`].
    #[must_use]
    pub fn output_size(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        self.shape.output_size(height, width)
    }
}

/// A convolution on a GPU, with what stands before and after it.
#[derive(Clone, Copy, Debug)]
pub struct Fused<'a> {
    /// The picture `[batch, height, width, in]`.
    pub x: &'a Array,
    /// Its `[batch, height, width]`.
    pub shape: [usize; 3],
    /// Resize it to this height and width first, by nearest neighbour. The resized picture never exists.
    pub resize: Option<[usize; 2]>,
    /// Add this to the result: `[out]` of `f32`.
    pub bias: Option<&'a Array>,
    /// And this to all pixels of a picture: `[batch, out]`.
    pub vector: Option<&'a Array>,
    /// And this: the result's shape.
    pub residual: Option<&'a Array>,
    /// Add to what the output holds.
    pub accumulate: bool,
}

impl<'a> Fused<'a> {
    /// A convolution of a picture, and nothing else.
    #[must_use]
    pub fn plain(x: &'a Array, shape: [usize; 3]) -> Fused<'a> {
        Fused { x, shape, resize: None, bias: None, vector: None, residual: None, accumulate: false }
    }
}

/// Convolves a picture to `out` `[batch, height', width', out]`, with sums in `f32`; `height'` and `width'` are
/// [`ConvWeight::output_size`] of the resized picture.
///
/// # Errors
/// No memory, a lost GPU, a command that it refused.
///
/// # Panics
/// If the length of an array disagrees with the shapes, the bias is not of `f32`, another array is of another number format
/// than `x`, or the kernel is larger than the padded input.
pub fn fused(conv: &Fused<'_>, weight: &PackedConv, out: &mut Array) -> Result<(), GpuError> {
    fused_by(Method::best(out.gpu()), conv, weight, out)
}

/// As [`fused`], by a given method.
pub(crate) fn fused_by(
    method: Method,
    conv: &Fused<'_>,
    weight: &PackedConv,
    out: &mut Array,
) -> Result<(), GpuError> {
    let Fused { x, shape: [batch, height, width], resize, bias, vector, residual, accumulate } = *conv;
    let PackedConv { weight, shape } = weight;
    let (inputs, outputs) = (weight.inputs(), weight.outputs());
    let addends = Addends { bias, vector, residual, accumulate };
    assert!(batch * height * width > 0, "an empty picture {:?}", conv.shape);
    assert_eq!(x.len(), batch * height * width * inputs, "input {:?} of {inputs} channels", conv.shape);
    let [to_height, to_width] = resize.unwrap_or([height, width]);
    let (out_height, out_width) =
        shape.output_size(to_height, to_width).expect("a kernel within the padded input");
    let pixels = out_height * out_width;
    addends.assert_lengths(x, batch * pixels, batch, outputs, out);
    if shape.is_pointwise() && [to_height, to_width] == [height, width] {
        return matrices(method, x, weight, &addends, pixels, out);
    }

    let channels = if inputs.is_multiple_of(4) { inputs / 4 } else { inputs };
    let pictures = Pictures {
        pixels: pixels as u32,
        channels: channels as u32,
        kernel: shape.kernel as u32,
        stride: shape.stride as u32,
        out_width: out_width as u32,
        height: height as u32,
        width: width as u32,
        to_height: to_height as u32,
        to_width: to_width as u32,
        top: (shape.padding.top as u32).wrapping_neg(),
        left: (shape.padding.left as u32).wrapping_neg(),
        picture: (height * width * channels) as u32,
        ..Pictures::default()
    };
    let run = |x_part, rows, first_picture, pictures| {
        Run { shader: &CONV2D, method, x, x_part, weight, addends: &addends, rows, first_picture, pictures }
            .record(out)
    };
    let size = x.dtype().size();
    let rows = rows_at_once(x.gpu(), outputs * size, weight);
    let lines = x.gpu().rows_at_once(width * inputs * size);
    if batch * pixels <= rows && batch * height <= lines {
        return run(0..x.len(), 0..batch * pixels, 0, pictures);
    }
    // In bands of whole lines of a picture, with the lines of `x` that they need.
    for picture in 0..batch {
        let mut line = 0;
        while line < out_height {
            let mut count = (rows / out_width).clamp(1, out_height - line);
            let needed = |count| shape.source(line..line + count, height, to_height);
            while count > 1 && needed(count).len() > lines {
                count -= 1;
            }
            let source = needed(count);
            let first_row = picture * pixels + line * out_width;
            let first_line = picture * height;
            run(
                (first_line + source.start) * width * inputs..(first_line + source.end) * width * inputs,
                first_row..first_row + count * out_width,
                picture,
                Pictures {
                    pixels: (count * out_width) as u32,
                    top: pictures.top.wrapping_add((line * shape.stride) as u32),
                    source: source.start as u32,
                    ..pictures
                },
            )?;
            line += count;
        }
    }
    Ok(())
}

impl Shape {
    fn output_size(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        let length =
            |input: usize, pad: usize| Some((input + pad).checked_sub(self.kernel)? / self.stride + 1);
        let Padding { top, bottom, left, right } = self.padding;
        Some((length(height, top + bottom)?, length(width, left + right)?))
    }

    /// Whether each pixel of the result is a product of one of the picture.
    fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == Padding::default()
    }

    /// The lines of a picture of `height`, resized to `to_height`, that lines of the result need; one at least.
    fn source(&self, lines: Range<usize>, height: usize, to_height: usize) -> Range<usize> {
        let top = self.padding.top;
        let first = (lines.start * self.stride).saturating_sub(top).min(to_height - 1);
        let last =
            ((lines.end - 1) * self.stride + self.kernel - 1).saturating_sub(top).clamp(first, to_height - 1);
        first * height / to_height..last * height / to_height + 1
    }
}
