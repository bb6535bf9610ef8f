//! The kernel for GPUs.

use crate::DType;
use crate::gpu::{Array, BindingAccess, Dispatch, GpuError, Shader, in_rows, prelude};
use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    width: u32,
    x_first: u32,
    out_first: u32,
    eps: f32,
    pad: [u32; 3],
}

pub(crate) static LAYER_NORM: Shader = Shader {
    name: "layer_norm",
    sources: &[prelude::ROWS, include_str!("layer_norm.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<Params>(),
    variants: prelude::row_variants,
};

/// As [`super::layer_norm`]; `weight` and `bias` are `f32`.
///
/// # Errors
/// A lost GPU, a command that it refused.
///
/// # Panics
/// As [`super::layer_norm`], and if a dtype disagrees.
pub fn layer_norm(
    x: &Array,
    weight: &Array,
    bias: &Array,
    eps: f32,
    out: &mut Array,
) -> Result<(), GpuError> {
    let width = weight.len();
    super::assert_lengths(x.len(), width, bias.len(), out.len());
    assert_eq!(out.dtype(), x.dtype(), "output of another dtype");
    assert_eq!((weight.dtype(), bias.dtype()), (DType::F32, DType::F32), "weight and bias");
    let gpu = x.gpu().clone();
    let (variant, rows_per_group) = prelude::row_variant(&gpu, x.dtype(), width);
    let vector = variant.vector;
    let rows = x.len() / width;
    let piece = gpu.rows_at_once(width * x.dtype().size());
    for row in (0..rows).step_by(piece) {
        let here = piece.min(rows - row);
        let (from, x_first) = x.window(row * width, here * width);
        let (to, out_first) = out.window(row * width, here * width);
        gpu.dispatch(&Dispatch {
            shader: &LAYER_NORM,
            variant: variant.clone(),
            arrays: &[from, weight.whole(), bias.whole(), to],
            params: Params {
                rows: here as u32,
                width: width as u32 / vector,
                x_first: x_first / vector,
                out_first: out_first / vector,
                eps,
                pad: [0; 3],
            },
            groups: in_rows(here.div_ceil(rows_per_group)),
            flops: 0,
        })?;
    }
    Ok(())
}
