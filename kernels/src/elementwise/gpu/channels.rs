//! Operations on the channels of images.

use super::super::{assert_concat_lengths, assert_slice_lengths, assert_vector_lengths};
use super::THREADS;
use crate::DType;
use crate::gpu::{Array, BindingAccess, Dispatch, GpuError, Shader, ShaderVariant, in_rows, prelude};
use bytemuck::{Pod, Zeroable};
use std::ops::Range;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct AddPerChannelParams {
    count: u32,
    width: u32,
    positions: u32,
    skipped: u32,
    x_first: u32,
    vector_first: u32,
    pad: [u32; 2],
}

pub(crate) static ADD_PER_CHANNEL: Shader = Shader {
    name: "add_per_channel",
    sources: &[prelude::ELEMENTS, include_str!("../add_per_channel.wgsl")],
    bindings: &[BindingAccess::Write, BindingAccess::Read],
    params: size_of::<AddPerChannelParams>(),
    variants: || {
        let mut all = ShaderVariant::basic();
        all.extend([1, 4].map(|vector| ShaderVariant::new(DType::F16, vector).flag(F32_VECTOR, true)));
        let slopes: Vec<_> = all.iter().map(|variant| variant.clone().flag(PRELU, true)).collect();
        all.extend(slopes);
        all
    },
};

/// The flag for slopes of negative values in place of a vector that is added.
const PRELU: &str = "PRELU";

/// The flag for a vector of `f32` that is added to images of `f16`.
const F32_VECTOR: &str = "F32_VECTOR";

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ConcatParams {
    count: u32,
    a_width: u32,
    b_width: u32,
    a_first: u32,
    b_first: u32,
    out_first: u32,
    pad: [u32; 2],
}

pub(crate) static CONCAT: Shader = Shader {
    name: "concat",
    sources: &[prelude::ELEMENTS, include_str!("../concat.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<ConcatParams>(),
    variants: ShaderVariant::basic,
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SliceParams {
    count: u32,
    width: u32,
    stride: u32,
    x_first: u32,
    out_first: u32,
    pad: [u32; 3],
}

pub(crate) static SLICE: Shader = Shader {
    name: "slice",
    sources: &[prelude::ELEMENTS, include_str!("../slice.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Write],
    params: size_of::<SliceParams>(),
    variants: ShaderVariant::basic,
};

/// Adds a vector `[batch, channels]`, of the same dtype or of `f32`, to every position of `x`
/// `[batch, positions, channels]`.
///
/// # Errors
/// A lost GPU, a command that it refused.
///
/// # Panics
/// If the lengths disagree, or the dtypes.
pub fn add_per_channel(x: &mut Array, vector: &Array, batch: usize, channels: usize) -> Result<(), GpuError> {
    per_channel(x, vector, [batch, channels], false)
}

/// As [`super::super::prelu`]; the slopes are of the same dtype or of `f32`.
///
/// # Errors
/// As [`add_per_channel`].
///
/// # Panics
/// As [`add_per_channel`].
pub fn prelu(x: &mut Array, slopes: &Array) -> Result<(), GpuError> {
    let channels = slopes.len();
    per_channel(x, slopes, [1, channels], true)
}

fn per_channel(
    x: &mut Array,
    vector: &Array,
    [batch, channels]: [usize; 2],
    is_prelu: bool,
) -> Result<(), GpuError> {
    assert_vector_lengths(x.len(), vector.len(), batch, channels);
    assert!(vector.dtype() == x.dtype() || vector.dtype() == DType::F32, "a vector of {}", vector.dtype());
    let gpu = x.gpu().clone();
    let variant = ShaderVariant::of_width(x.dtype(), channels)
        .flag(F32_VECTOR, vector.dtype() != x.dtype())
        .flag(PRELU, is_prelu);
    let width = channels / variant.vector as usize;
    let pixels = x.len() / channels;
    let positions = pixels / batch.max(1);
    // There are no more images than pixels, so their vectors fit too.
    let piece = gpu.rows_at_once(channels * vector.dtype().size());
    for pixel in (0..pixels).step_by(piece) {
        let here = piece.min(pixels - pixel);
        let (first, last) = (pixel / positions, (pixel + here - 1) / positions);
        let (to, x_first) = x.window(pixel * channels, here * channels);
        let (from, vector_first) = vector.window(first * channels, (last + 1 - first) * channels);
        let count = here * width;
        gpu.dispatch(&Dispatch {
            shader: &ADD_PER_CHANNEL,
            variant: variant.clone(),
            arrays: &[to, from],
            params: AddPerChannelParams {
                count: count as u32,
                width: width as u32,
                positions: positions as u32,
                skipped: (pixel % positions) as u32,
                x_first: x_first / variant.vector,
                vector_first: vector_first / variant.vector,
                pad: [0; 2],
            },
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}

/// Joins the channels of `a` `[positions, a_channels]` and `b` `[positions, b_channels]`.
///
/// # Errors
/// As [`add_per_channel`].
///
/// # Panics
/// If the lengths disagree, or the dtypes.
pub fn concat_channels(
    a: &Array,
    a_channels: usize,
    b: &Array,
    b_channels: usize,
    out: &mut Array,
) -> Result<(), GpuError> {
    let channels = a_channels + b_channels;
    assert_concat_lengths([a.len(), b.len()], [a_channels, b_channels], out.len());
    let positions = a.len() / a_channels;
    assert!(a.dtype() == b.dtype() && a.dtype() == out.dtype(), "joining different dtypes");
    let gpu = a.gpu().clone();
    let both_whole = a_channels.is_multiple_of(4) && b_channels.is_multiple_of(4);
    let variant = ShaderVariant::new(a.dtype(), if both_whole { 4 } else { 1 });
    let vector = variant.vector as usize;
    let piece = gpu.rows_at_once(channels * a.dtype().size());
    for pixel in (0..positions).step_by(piece) {
        let here = piece.min(positions - pixel);
        let (from_a, a_first) = a.window(pixel * a_channels, here * a_channels);
        let (from_b, b_first) = b.window(pixel * b_channels, here * b_channels);
        let (to, out_first) = out.window(pixel * channels, here * channels);
        let count = here * channels / vector;
        gpu.dispatch(&Dispatch {
            shader: &CONCAT,
            variant: variant.clone(),
            arrays: &[from_a, from_b, to],
            params: ConcatParams {
                count: count as u32,
                a_width: (a_channels / vector) as u32,
                b_width: (b_channels / vector) as u32,
                a_first: a_first / variant.vector,
                b_first: b_first / variant.vector,
                out_first: out_first / variant.vector,
                pad: [0; 2],
            },
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}

/// As [`super::super::slice_channels`].
///
/// # Errors
/// As [`add_per_channel`].
///
/// # Panics
/// As [`super::super::slice_channels`], or if the dtypes disagree.
pub fn slice_channels(
    x: &Array,
    channels: usize,
    part: Range<usize>,
    out: &mut Array,
) -> Result<(), GpuError> {
    assert_slice_lengths(x.len(), channels, &part, out.len());
    assert_eq!(x.dtype(), out.dtype(), "a slice of another dtype");
    let gpu = x.gpu().clone();
    let whole = [channels, part.start, part.len()].iter().all(|n| n.is_multiple_of(4));
    let variant = ShaderVariant::new(x.dtype(), if whole { 4 } else { 1 });
    let vector = variant.vector as usize;
    let (positions, width, size) = (x.len() / channels, part.len(), x.dtype().size());
    // Pixels at once, or a part of one at once.
    let pixels = gpu.rows_at_once(channels * size);
    let columns = if gpu.binds(channels * size) { width } else { gpu.rows_at_once(4 * size) * 4 };
    for pixel in (0..positions).step_by(pixels) {
        let here = pixels.min(positions - pixel);
        for column in (0..width).step_by(columns) {
            let wide = columns.min(width - column);
            let span = (here - 1) * channels + wide;
            let (from, x_first) = x.window(pixel * channels + part.start + column, span);
            let (to, out_first) = out.window(pixel * width + column, here * wide);
            let count = here * wide / vector;
            gpu.dispatch(&Dispatch {
                shader: &SLICE,
                variant: variant.clone(),
                arrays: &[from, to],
                params: SliceParams {
                    count: count as u32,
                    width: (wide / vector) as u32,
                    stride: (channels / vector) as u32,
                    x_first: x_first / variant.vector,
                    out_first: out_first / variant.vector,
                    pad: [0; 3],
                },
                groups: in_rows(count.div_ceil(THREADS)),
                flops: 0,
            })?;
        }
    }
    Ok(())
}
