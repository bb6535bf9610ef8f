//! Convolutions and linear layers of some rows of an image. The values are those of the whole image, bit for bit.

use super::{Conv2d, Linear, PrecomputedNorm, Prologue};
use crate::error::{ShapeRequirement, TensorOp};
use crate::profile::{self, OpClass};
use crate::{Shape, TensorError, Window};
use latent_kernels::conv2d::{self as kernel, BAND_UNIT, Band, RowRange};
use latent_kernels::gemm::{self, Product};
use std::ops::Range;

const OP: TensorOp = TensorOp::Conv2d;

/// Computes the next rows of `out` from `x`, up to row `end`, and appends them. Bands end at a
/// multiple of [`BAND_UNIT`] rows or with the image.
///
/// # Errors
/// Images of other sizes, a band off that grid, rows of `x` that are needed and missing, no room in `out`.
pub fn conv2d_append(
    x: &Window,
    layer: &Conv2d,
    prologue: Prologue<'_, PrecomputedNorm<'_>>,
    end: usize,
    out: &mut Window,
) -> Result<(), TensorError> {
    let rows = out.rows().end..end;
    let conv = fused(x, layer, prologue, rows.clone(), out)?;
    run(conv, layer, out.extend(rows.len())?)
}

/// Convolves `x` to some rows of `out`, and adds the result to their contents.
///
/// # Errors
/// As [`conv2d_append`], and rows that are not in `out`.
pub fn conv2d_add(
    x: &Window,
    layer: &Conv2d,
    prologue: Prologue<'_, PrecomputedNorm<'_>>,
    rows: Range<usize>,
    out: &mut Window,
) -> Result<(), TensorError> {
    let conv = kernel::Convolution { accumulate: true, ..fused(x, layer, prologue, rows.clone(), out)? };
    run(conv, layer, out.values_mut(rows)?)
}

/// Computes the next rows of `out` by applying a layer to those of `x`, up to row `end`, and appends them.
///
/// # Errors
/// Images of other sizes, rows that are not in `x`, no room in `out`.
pub fn linear_append(x: &Window, layer: &Linear, end: usize, out: &mut Window) -> Result<(), TensorError> {
    let [height, width, channels] = x.dims();
    if channels != layer.inputs() || out.dims() != [height, width, layer.outputs()] {
        let expected = format_args!("pixels of {} and {} channels", layer.inputs(), layer.outputs());
        return Err(TensorError::shape(
            TensorOp::Linear,
            expected,
            format_args!("{:?}, {:?}", x.dims(), out.dims()),
        ));
    }
    let (weight, bias) = layer.on_cpu()?;
    let rows = out.rows().end..end;
    let values = x.values(rows.clone())?;
    let out = out.extend(rows.len())?;
    let _timer = profile::timer(OpClass::Linear).multiply_adds(out.len(), channels);
    let precision = layer.precision;
    gemm::gemm_many(
        values,
        &mut [Product { weight, bias, residual: None, accumulate: false, precision, out }],
    );
    Ok(())
}

/// Checks that the rows of `out` can be computed.
fn fused<'a>(
    x: &'a Window,
    layer: &'a Conv2d,
    prologue: Prologue<'a, PrecomputedNorm<'a>>,
    rows: Range<usize>,
    out: &Window,
) -> Result<kernel::Convolution<'a>, TensorError> {
    let [height, width, channels] = x.dims();
    if channels != layer.inputs() || prologue.norm_silu.is_some_and(|norm| norm.channels() != channels) {
        return Err(TensorError::shape(OP, ShapeRequirement::Channels(layer.inputs()), channels));
    }
    let [to_height, to_width] = prologue.resize.unwrap_or([height, width]);
    let (weight, bias) = layer.on_cpu()?;
    let size = weight.output_size(to_height, to_width).filter(|_| height * width > 0);
    let (h, w) =
        size.ok_or_else(|| TensorError::shape(OP, "an image as large as the kernel", &x.dims()[..]))?;
    let dims = [h, w, layer.outputs()];
    if out.dims() != dims {
        return Err(TensorError::shape(OP, Shape::new(&dims)?, &out.dims()[..]));
    }
    let wanted = RowRange::from(rows);
    if !wanted.is_band_of(h) {
        let expected = format_args!("a band of {h} rows between multiples of {BAND_UNIT}");
        return Err(TensorError::shape(OP, expected, wanted.start..wanted.end));
    }
    let read = weight.geometry().rows_read([height, to_height], wanted);
    let values = x.values(read.start..read.end)?;
    Ok(kernel::Convolution {
        norm: prologue.norm_silu.map(|norm| norm.map(true)),
        resize: prologue.resize,
        bias,
        precision: layer.precision,
        band: Some(Band { held: read, wanted }),
        ..kernel::Convolution::plain(values, [1, height, width])
    })
}

fn run(conv: kernel::Convolution<'_>, layer: &Conv2d, out: &mut [f32]) -> Result<(), TensorError> {
    let _timer = profile::timer(OpClass::Conv).multiply_adds(out.len(), layer.multiply_adds);
    kernel::conv2d_fused(&conv, layer.on_cpu()?.0, out);
    Ok(())
}
