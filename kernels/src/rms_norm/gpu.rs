//! The kernel for GPUs.

use crate::DType;
use crate::gpu::{Array, BindingAccess, Dispatch, GpuError, Shader, ShaderVariant, in_rows, prelude};
use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    width: u32,
    x_first: u32,
    out_first: u32,
    eps: f32,
    tokens: u32,
    skipped: u32,
    scale_first: u32,
}

/// The flag for scales of each sequence.
const MODULATED: &str = "MODULATED";

pub(crate) static RMS_NORM: Shader = Shader {
    name: "rms_norm",
    sources: &[prelude::ROWS, include_str!("rms_norm.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<Params>(),
    variants: prelude::row_variants,
};

pub(crate) static RMS_NORM_MODULATED: Shader = Shader {
    name: "rms_norm_modulated",
    sources: &[prelude::ROWS, include_str!("rms_norm.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<Params>(),
    variants: || prelude::row_variants().into_iter().map(|v| v.flag(MODULATED, true)).collect(),
};

/// As [`super::rms_norm`]; `weight` is `f32`.
///
/// # Errors
/// A lost GPU, a command that it refused.
///
/// # Panics
/// As [`super::rms_norm`], and if a dtype disagrees.
pub fn rms_norm(x: &Array, weight: &Array, eps: f32, out: &mut Array) -> Result<(), GpuError> {
    run(x, weight, None, eps, out)
}

/// As [`super::rms_norm_modulated`]; `weight` is `f32`, `scale` of the dtype of `x`.
///
/// # Errors
/// As [`rms_norm`].
///
/// # Panics
/// As [`super::rms_norm_modulated`], and if a dtype disagrees.
pub fn rms_norm_modulated(
    x: &Array,
    weight: &Array,
    scale: &Array,
    batch: usize,
    eps: f32,
    out: &mut Array,
) -> Result<(), GpuError> {
    super::assert_vector(x.len(), weight.len(), scale.len(), batch);
    assert_eq!(scale.dtype(), x.dtype(), "scales of another dtype");
    run(x, weight, Some((scale, batch)), eps, out)
}

fn run(
    x: &Array,
    weight: &Array,
    scale: Option<(&Array, usize)>,
    eps: f32,
    out: &mut Array,
) -> Result<(), GpuError> {
    let width = weight.len();
    super::assert_lengths(x.len(), width, out.len());
    assert_eq!((out.dtype(), weight.dtype()), (x.dtype(), DType::F32), "output and weight");
    let gpu = x.gpu().clone();
    let (variant, rows_per_group) = prelude::row_variant(&gpu, x.dtype(), width);
    let variant = variant.flag(MODULATED, scale.is_some());
    let rows = x.len() / width;
    let tokens = scale.map_or(rows, |(_, batch)| rows / batch.max(1));
    // A sequence has a row at least, so the scales of these rows fit, too.
    let piece = gpu.rows_at_once(width * x.dtype().size());
    for row in (0..rows).step_by(piece) {
        let here = piece.min(rows - row);
        let (from, x_first) = x.window(row * width, here * width);
        let (to, out_first) = out.window(row * width, here * width);
        let (sequence, last) = (row / tokens, (row + here - 1) / tokens);
        let scale = scale.map(|(scale, _)| scale.window(sequence * width, (last + 1 - sequence) * width));
        let scale_first = scale.as_ref().map_or(0, |(_, first)| *first);
        let (shader, arrays) = match scale {
            Some((scale, _)) => (&RMS_NORM_MODULATED, vec![from, weight.whole(), scale, to]),
            None => (&RMS_NORM, vec![from, weight.whole(), to]),
        };
        let vector = variant.vector;
        let params = Params {
            rows: here as u32,
            width: width as u32 / vector,
            x_first: x_first / vector,
            out_first: out_first / vector,
            eps,
            tokens: tokens as u32,
            skipped: (row % tokens) as u32,
            scale_first: scale_first / vector,
        };
        let (variant, groups) = (ShaderVariant::clone(&variant), in_rows(here.div_ceil(rows_per_group)));
        gpu.dispatch(&Dispatch { shader, variant, arrays: &arrays, params, groups, flops: 0 })?;
    }
    Ok(())
}
