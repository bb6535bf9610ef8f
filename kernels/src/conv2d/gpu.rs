//! The kernel for GPUs: an implicit matrix product, whose tiles gather their pixels (`pixels.wgsl`).

use super::{ConvGeometry, ConvWeight, RowRange};
use crate::gemm::gpu::run::{Addends, BINDINGS, ImageParams, Params, ProductRun, rows_at_once};
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

/// The weight of a convolution, packed for the GPU.
#[derive(Clone, Debug)]
pub struct PackedConv {
    weight: PackedWeight,
    geometry: ConvGeometry,
}

impl PackedConv {
    /// As [`PackedWeight::new`].
    ///
    /// # Errors
    /// No memory, a lost GPU.
    pub fn new(gpu: &Gpu, weight: &ConvWeight, half: bool) -> Result<PackedConv, GpuError> {
        let geometry = weight.geometry();
        Ok(PackedConv { weight: PackedWeight::new(gpu, &weight.matrix, half)?, geometry })
    }

    /// Channels of the input.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.weight.inputs()
    }

    /// Channels of the output.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.weight.outputs()
    }

    /// Bytes of GPU memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.weight.bytes()
    }

    /// How its kernel walks over an image.
    #[must_use]
    pub fn geometry(&self) -> ConvGeometry {
        self.geometry
    }
}

/// A convolution on a GPU, with the work that is fused with it.
#[derive(Clone, Copy, Debug)]
pub struct GpuConvolution<'a> {
    /// The images `[batch, height, width, in]`.
    pub x: &'a Array,
    /// Their `[batch, height, width]`.
    pub shape: [usize; 3],
    /// Resize them to this height and width first, by nearest neighbour. The resized images are never stored.
    pub resize: Option<[usize; 2]>,
    /// Add this to the result: `[out]` of `f32`.
    pub bias: Option<&'a Array>,
    /// Add this to all pixels of an image: `[batch, out]`.
    pub vector: Option<&'a Array>,
    /// Add this, of the shape of the result.
    pub residual: Option<&'a Array>,
    /// Add the previous contents of the output.
    pub accumulate: bool,
}

impl<'a> GpuConvolution<'a> {
    /// A convolution of images and nothing else.
    #[must_use]
    pub fn plain(x: &'a Array, shape: [usize; 3]) -> GpuConvolution<'a> {
        GpuConvolution { x, shape, resize: None, bias: None, vector: None, residual: None, accumulate: false }
    }
}

/// Convolves images to `out` `[batch, height', width', out]`, with sums in `f32`; `height'` and `width'` are
/// [`ConvGeometry::output_size`] of the resized images.
///
/// # Errors
/// No memory, a lost GPU, a refused command.
///
/// # Panics If the length of an array disagrees with the shapes, the bias is not `f32`, another array has another dtype
/// than `x`, or the kernel is larger than the padded input.
pub fn conv2d(conv: &GpuConvolution<'_>, weight: &PackedConv, out: &mut Array) -> Result<(), GpuError> {
    conv2d_by(Method::best(out.gpu()), conv, weight, out)
}

/// As [`conv2d`], by a given method.
pub(crate) fn conv2d_by(
    method: Method,
    conv: &GpuConvolution<'_>,
    packed: &PackedConv,
    out: &mut Array,
) -> Result<(), GpuError> {
    let GpuConvolution { x, shape, resize, bias, vector, residual, accumulate } = *conv;
    let PackedConv { weight, geometry } = packed;
    let [batch, height, width] = shape;
    let (inputs, outputs) = (weight.inputs(), weight.outputs());
    let addends = Addends { bias, vector, residual, accumulate };
    let out_size = geometry.assert_output_size(shape, resize);
    assert_eq!(x.len(), batch * height * width * inputs, "input {shape:?} of {inputs} channels");
    let pixels = out_size[0] * out_size[1];
    addends.assert_lengths(x, batch * pixels, batch, outputs, out);
    if geometry.is_pointwise() && resize.is_none_or(|size| size == [height, width]) {
        return matrices(method, x, weight, &addends, pixels, out);
    }

    let packed = &PackedConv { weight: weight.ready()?, geometry: *geometry };
    let weight = &packed.weight;
    let convolution = ImplicitProduct { method, conv, packed, addends, out_size };
    let rows = rows_at_once(x.gpu(), outputs * x.dtype().size(), weight.terms() * outputs);
    let lines = x.gpu().rows_at_once(width * inputs * x.dtype().size());
    if batch * pixels <= rows && batch * height <= lines {
        let images = convolution.image_params();
        return convolution.run(0..x.len(), 0..batch * pixels, 0, images, out);
    }
    (0..batch).try_for_each(|image| convolution.run_in_bands(image, rows, lines, out))
}

/// A convolution as a product whose left side is gathered from images.
struct ImplicitProduct<'a> {
    method: Method,
    conv: &'a GpuConvolution<'a>,
    packed: &'a PackedConv,
    addends: Addends<'a>,
    /// Height and width of an image of the output.
    out_size: [usize; 2],
}

impl ImplicitProduct<'_> {
    /// The parameters for whole images.
    fn image_params(&self) -> ImageParams {
        let [_, height, width] = self.conv.shape;
        let [to_height, to_width] = self.conv.resize.unwrap_or([height, width]);
        let [out_height, out_width] = self.out_size;
        let ConvGeometry { kernel, stride, padding } = self.packed.geometry;
        let inputs = self.packed.in_channels();
        let channels = if inputs.is_multiple_of(4) { inputs / 4 } else { inputs };
        ImageParams {
            pixels: (out_height * out_width) as u32,
            channels: channels as u32,
            kernel: kernel as u32,
            stride: stride as u32,
            out_width: out_width as u32,
            height: height as u32,
            width: width as u32,
            to_height: to_height as u32,
            to_width: to_width as u32,
            top: (padding.top as u32).wrapping_neg(),
            left: (padding.left as u32).wrapping_neg(),
            source: 0,
            image: (height * width * channels) as u32,
        }
    }

    /// Records some rows of the product, from a part of `x`.
    fn run(
        &self,
        x_part: Range<usize>,
        rows: Range<usize>,
        first_image: usize,
        images: ImageParams,
        out: &Array,
    ) -> Result<(), GpuError> {
        let run = ProductRun {
            shader: &CONV2D,
            method: self.method,
            x: self.conv.x,
            x_part,
            weight: &self.packed.weight,
            addends: &self.addends,
            activation: None,
            rows,
            first_image,
            images,
        };
        run.record(out)
    }

    /// Records one image in bands of whole lines, each with the lines of `x` that it needs: at most `rows` pixels of the
    /// output, and at most `lines` lines of the input unless one line needs more.
    fn run_in_bands(&self, image: usize, rows: usize, lines: usize, out: &Array) -> Result<(), GpuError> {
        let [_, height, width] = self.conv.shape;
        let [to_height, _] = self.conv.resize.unwrap_or([height, width]);
        let [out_height, out_width] = self.out_size;
        let geometry = self.packed.geometry;
        let whole = self.image_params();
        let line_len = width * self.packed.in_channels();
        let mut line = 0;
        while line < out_height {
            let mut count = (rows / out_width).clamp(1, out_height - line);
            let needed =
                |count| geometry.rows_read([height, to_height], RowRange { start: line, end: line + count });
            while count > 1 && needed(count).count() > lines {
                count -= 1;
            }
            let source = needed(count);
            let first_row = (image * out_height + line) * out_width;
            let first_line = image * height;
            self.run(
                (first_line + source.start) * line_len..(first_line + source.end) * line_len,
                first_row..first_row + count * out_width,
                image,
                ImageParams {
                    pixels: (count * out_width) as u32,
                    top: whole.top.wrapping_add((line * geometry.stride) as u32),
                    source: source.start as u32,
                    ..whole
                },
                out,
            )?;
            line += count;
        }
        Ok(())
    }
}
