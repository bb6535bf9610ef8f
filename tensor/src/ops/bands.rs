//! Convolutions and linear layers of some rows of a picture. The values are those of the whole picture, bit for bit.

use super::{Conv2d, KnownNorm, Linear};
use crate::profile::{self, Class};
use crate::{TensorError, Window};
use latent_kernels::conv2d::{self as kernel, BAND_UNIT, Band, RowRange};
use latent_kernels::gemm;
use std::ops::Range;

const OP: &str = "conv2d";

/// What stands before a convolution in a model, and is computed together with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before<'a> {
    /// This norm, then SiLU.
    pub norm_silu: Option<&'a KnownNorm<'a>>,
    /// Then nearest-neighbour resize to this height and width.
    pub resize: Option<[usize; 2]>,
}

/// Convolves `x` to the rows of `out` that follow on those that it has, up to `end`, and appends them. Bands end at a
/// multiple of [`BAND_UNIT`] rows or with the picture.
///
/// # Errors
/// Pictures of other sizes, a band off that grid, rows of `x` that are needed and not there, no room in `out`.
pub fn conv2d_append(
    x: &Window,
    layer: &Conv2d,
    before: Before<'_>,
    end: usize,
    out: &mut Window,
) -> Result<(), TensorError> {
    let rows = out.rows().end..end;
    let conv = fused(x, layer, before, rows.clone(), out)?;
    run(conv, layer, out.extend(rows.len())?)
}

/// Convolves `x` to some rows of `out`, and adds the result to what they hold.
///
/// # Errors
/// As [`conv2d_append`], and rows that `out` has not.
pub fn conv2d_add(
    x: &Window,
    layer: &Conv2d,
    before: Before<'_>,
    rows: Range<usize>,
    out: &mut Window,
) -> Result<(), TensorError> {
    let conv = kernel::Convolution { accumulate: true, ..fused(x, layer, before, rows.clone(), out)? };
    run(conv, layer, out.values_mut(rows)?)
}

/// Applies a layer to the rows of `x` that follow on those that `out` has, up to `end`, and appends them to `out`.
///
/// # Errors
/// Pictures of other sizes, rows that `x` has not, no room in `out`.
pub fn linear_append(x: &Window, layer: &Linear, end: usize, out: &mut Window) -> Result<(), TensorError> {
    let [height, width, channels] = x.dims();
    if channels != layer.inputs() || out.dims() != [height, width, layer.outputs()] {
        let expected =
            format_args!("pixels of {} and {} channels", layer.inputs(), layer.outputs()).to_string();
        return Err(TensorError::shape("linear", expected, format_args!("{:?}, {:?}", x.dims(), out.dims())));
    }
    let (weight, bias) = layer.on_cpu()?;
    let rows = out.rows().end..end;
    let values = x.values(rows.clone())?;
    let out = out.extend(rows.len())?;
    let _timer = profile::timer(Class::Linear).multiply_adds(out.len(), channels);
    gemm::gemm(values, weight, bias, None, out);
    Ok(())
}

/// Checks that the rows of `out` can be computed.
fn fused<'a>(
    x: &'a Window,
    layer: &'a Conv2d,
    before: Before<'a>,
    rows: Range<usize>,
    out: &Window,
) -> Result<kernel::Convolution<'a>, TensorError> {
    let [height, width, channels] = x.dims();
    if channels != layer.inputs() || before.norm_silu.is_some_and(|norm| norm.channels() != channels) {
        return Err(TensorError::shape(OP, format_args!("{} channels", layer.inputs()), channels));
    }
    let [to_height, to_width] = before.resize.unwrap_or([height, width]);
    let (weight, bias) = layer.on_cpu()?;
    let size = weight.output_size(to_height, to_width).filter(|_| height * width > 0);
    let (h, w) = size.ok_or_else(|| {
        TensorError::shape(OP, "a picture as large as the kernel", format_args!("{:?}", x.dims()))
    })?;
    let dims = [h, w, layer.outputs()];
    if out.dims() != dims {
        return Err(TensorError::shape(OP, format_args!("{dims:?}"), format_args!("{:?}", out.dims())));
    }
    let wanted = RowRange::from(rows);
    if !wanted.is_band_of(h) {
        let expected = format_args!("a band of {h} rows between multiples of {BAND_UNIT}").to_string();
        let got = format_args!("{:?}", wanted.start..wanted.end).to_string();
        return Err(TensorError::shape(OP, expected, got));
    }
    let read = weight.rows_read([height, to_height], wanted);
    let values = x.values(read.start..read.end)?;
    Ok(kernel::Convolution {
        norm: before.norm_silu.map(|norm| norm.map(true)),
        resize: before.resize,
        bias,
        band: Some(Band { held: read, wanted }),
        ..kernel::Convolution::plain(values, [1, height, width])
    })
}

fn run(conv: kernel::Convolution<'_>, layer: &Conv2d, out: &mut [f32]) -> Result<(), TensorError> {
    let _timer = profile::timer(Class::Conv).multiply_adds(out.len(), layer.multiply_adds);
    kernel::conv2d_fused(&conv, layer.on_cpu()?.0, out);
    Ok(())
}
