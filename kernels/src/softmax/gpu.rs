//! The kernel for GPUs.

use crate::gpu::{Array, BindingAccess, Dispatch, GpuError, Shader, in_rows, prelude};
use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    width: u32,
    first: u32,
    pad: u32,
}

pub(crate) static SOFTMAX: Shader = Shader {
    name: "softmax",
    sources: &[prelude::ROWS, include_str!("softmax.wgsl")],
    bindings: &[BindingAccess::Write],
    params: size_of::<Params>(),
    variants: prelude::row_variants,
};

/// As [`super::softmax`], but an entry of minus infinity becomes 0.
///
/// # Errors
/// A lost GPU, a command that it refused.
///
/// # Panics
/// As [`super::softmax`].
pub fn softmax(x: &mut Array, width: usize) -> Result<(), GpuError> {
    super::assert_rows(x.len(), width);
    let gpu = x.gpu().clone();
    let (variant, rows_per_group) = prelude::row_variant(&gpu, x.dtype(), width);
    let vector = variant.vector;
    let rows = x.len() / width;
    let piece = gpu.rows_at_once(width * x.dtype().size());
    for row in (0..rows).step_by(piece) {
        let here = piece.min(rows - row);
        let (binding, first) = x.window(row * width, here * width);
        gpu.dispatch(&Dispatch {
            shader: &SOFTMAX,
            variant: variant.clone(),
            arrays: &[binding],
            params: Params { rows: here as u32, width: width as u32 / vector, first: first / vector, pad: 0 },
            groups: in_rows(here.div_ceil(rows_per_group)),
            flops: 0,
        })?;
    }
    Ok(())
}
