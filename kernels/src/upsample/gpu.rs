//! The kernel for GPUs.

use crate::gpu::{Array, BindingAccess, Dispatch, GpuError, Shader, ShaderVariant, in_rows, prelude};
use bytemuck::{Pod, Zeroable};

/// Threads of a workgroup.
const THREADS: usize = 256;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    count: u32,
    channels: u32,
    columns: u32,
    line: u32,
    column: u32,
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    x_pixel: u32,
    x_first: u32,
    out_first: u32,
}

pub(crate) static UPSAMPLE: Shader = Shader {
    name: "upsample",
    sources: &[prelude::ELEMENTS, include_str!("upsample.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Write],
    params: size_of::<Params>(),
    variants: ShaderVariant::basic,
};

/// As [`super::nearest`]: an image `[batch, height, width, channels]` to `[batch, out_height, out_width, channels]`.
///
/// # Errors
/// A lost GPU, a command that it refused.
///
/// # Panics
/// If the length of an array disagrees, the dtypes do, or the input has no pixel.
pub fn nearest(
    x: &Array,
    [batch, height, width, channels]: [usize; 4],
    [out_height, out_width]: [usize; 2],
    out: &mut Array,
) -> Result<(), GpuError> {
    super::assert_lengths(x.len(), [batch, height, width, channels], [out_height, out_width], out.len());
    assert_eq!(x.dtype(), out.dtype(), "an image of another dtype");
    if out.is_empty() {
        return Ok(());
    }
    let gpu = x.gpu().clone();
    let variant = ShaderVariant::of_width(x.dtype(), channels);
    let pixel_bytes = channels * x.dtype().size();
    // `n` pixels along a side of the output cover at most `n` times the input pixels that one output pixel advances by.
    let column_bytes = pixel_bytes * width.div_ceil(out_width);
    let columns = gpu.rows_at_once(column_bytes).min(out_width);
    let line_bytes = pixel_bytes * out_width.max(width * height.div_ceil(out_height));
    let lines = if columns < out_width { 1 } else { gpu.rows_at_once(line_bytes) };
    let source = |line: usize, column: usize| {
        let y = line % out_height * height / out_height;
        (line / out_height * height + y) * width + column * width / out_width
    };
    let all_lines = batch * out_height;
    for line in (0..all_lines).step_by(lines) {
        let last_line = (line + lines).min(all_lines) - 1;
        for column in (0..out_width).step_by(columns) {
            let here = columns.min(out_width - column);
            let pixels = (last_line + 1 - line) * here;
            let x_pixel = source(line, column);
            let x_pixels = source(last_line, column + here - 1) + 1 - x_pixel;
            let (from, x_first) = x.window(x_pixel * channels, x_pixels * channels);
            let (to, out_first) = out.window((line * out_width + column) * channels, pixels * channels);
            let count = pixels * channels / variant.vector as usize;
            gpu.dispatch(&Dispatch {
                shader: &UPSAMPLE,
                variant: variant.clone(),
                arrays: &[from, to],
                params: Params {
                    count: count as u32,
                    channels: channels as u32 / variant.vector,
                    columns: here as u32,
                    line: line as u32,
                    column: column as u32,
                    height: height as u32,
                    width: width as u32,
                    out_height: out_height as u32,
                    out_width: out_width as u32,
                    x_pixel: x_pixel as u32,
                    x_first: x_first / variant.vector,
                    out_first: out_first / variant.vector,
                },
                groups: in_rows(count.div_ceil(THREADS)),
                flops: 0,
            })?;
        }
    }
    Ok(())
}
