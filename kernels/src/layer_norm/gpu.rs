//! On a GPU.

use crate::DType;
use crate::gpu::{Access, Array, Dispatch, GpuError, Shader, in_rows, shaders};
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
    sources: &[shaders::ROW, include_str!("layer_norm.wgsl")],
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Write],
    params: size_of::<Params>(),
    variants: shaders::variants_of_rows,
};

/// As [`super::layer_norm`]; `weight` and `bias` are `f32`.
///
/// # Errors
/// A lost GPU, a command that it refused.
///
/// # Panics
/// As [`super::layer_norm`], and if a number format disagrees.
pub fn layer_norm(
    x: &Array,
    weight: &Array,
    bias: &Array,
    eps: f32,
    out: &mut Array,
) -> Result<(), GpuError> {
    let width = weight.len();
    assert!(width > 0 && bias.len() == width, "a weight of {width} and a bias of {}", bias.len());
    assert!(x.len().is_multiple_of(width), "{} values are no rows of {width}", x.len());
    assert_eq!((out.len(), out.dtype()), (x.len(), x.dtype()), "output");
    assert_eq!((weight.dtype(), bias.dtype()), (DType::F32, DType::F32), "weight and bias");
    let gpu = x.gpu().clone();
    let (variant, of_group) = shaders::of_rows(&gpu, x.dtype(), width);
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
            groups: in_rows(here.div_ceil(of_group)),
            flops: 0,
        })?;
    }
    Ok(())
}
