//! On a GPU.

use crate::gpu::{Access, Array, Dispatch, GpuError, Shader, in_rows, shaders};
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
    sources: &[shaders::ROW, include_str!("softmax.wgsl")],
    bindings: &[Access::Write],
    params: size_of::<Params>(),
    variants: shaders::variants_of_rows,
};

/// As [`super::softmax`], but an entry of minus infinity becomes 0.
///
/// # Errors
/// A lost GPU, a command that it refused.
///
/// # Panics
/// As [`super::softmax`].
pub fn softmax(x: &mut Array, width: usize) -> Result<(), GpuError> {
    assert!(width > 0 && x.len().is_multiple_of(width), "{} values are no rows of {width}", x.len());
    let gpu = x.gpu().clone();
    let (variant, of_group) = shaders::of_rows(&gpu, x.dtype(), width);
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
            groups: in_rows(here.div_ceil(of_group)),
            flops: 0,
        })?;
    }
    Ok(())
}
