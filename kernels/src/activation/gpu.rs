//! The kernel for GPUs.

use super::{Activation, LEAKY_SLOPE};
use crate::gpu::{Array, BindingAccess, Dispatch, GpuError, Shader, ShaderVariant, in_rows, prelude};
use bytemuck::{Pod, Zeroable};

/// Threads of a workgroup.
const THREADS: usize = 256;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    count: u32,
    first: u32,
    factor: f32,
    pad: u32,
}

pub(crate) static ACTIVATION: Shader = Shader {
    name: "activation",
    sources: &[prelude::ELEMENTS, include_str!("activation.wgsl")],
    bindings: &[BindingAccess::Write],
    params: size_of::<Params>(),
    variants: || {
        ShaderVariant::basic()
            .into_iter()
            .flat_map(|v| (0..6).map(move |k| v.clone().with("KIND", k)))
            .collect()
    },
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GegluParams {
    count: u32,
    width: u32,
    x_first: u32,
    out_first: u32,
}

pub(crate) static GEGLU: Shader = Shader {
    name: "geglu",
    sources: &[prelude::ELEMENTS, include_str!("geglu.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Write],
    params: size_of::<GegluParams>(),
    variants: ShaderVariant::basic,
};

/// As [`super::activate`].
///
/// # Errors
/// A lost GPU, a command that it refused.
pub fn activate(kind: Activation, x: &mut Array) -> Result<(), GpuError> {
    let (kind, factor) = match kind {
        Activation::Silu => (0, 0.0),
        Activation::Gelu => (1, 0.0),
        Activation::QuickGelu => (2, 0.0),
        Activation::Relu => (4, 0.0),
        Activation::LeakyRelu => (5, LEAKY_SLOPE),
    };
    in_place(kind, factor, x)
}

/// `x *= factor`.
///
/// # Errors
/// As [`activate`].
pub(crate) fn scale(x: &mut Array, factor: f32) -> Result<(), GpuError> {
    in_place(3, factor, x)
}

fn in_place(kind: u32, factor: f32, x: &mut Array) -> Result<(), GpuError> {
    let gpu = x.gpu().clone();
    let (len, size) = (x.len(), x.dtype().size());
    // The memory is whole vectors, so the last one may be computed past the end.
    let variant = ShaderVariant::new(x.dtype(), 4).with("KIND", kind);
    let piece = gpu.rows_at_once(4 * size) * 4;
    for start in (0..len).step_by(piece) {
        let here = piece.min(len - start);
        let (binding, first) = x.window(start, here);
        let count = here.div_ceil(4);
        gpu.dispatch(&Dispatch {
            shader: &ACTIVATION,
            variant: variant.clone(),
            arrays: &[binding],
            params: Params { count: count as u32, first: first / 4, factor, pad: 0 },
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}

/// As [`super::geglu`].
///
/// # Errors
/// As [`activate`].
///
/// # Panics
/// As [`super::geglu`].
pub fn geglu(x: &Array, width: usize, out: &mut Array) -> Result<(), GpuError> {
    super::assert_geglu_lengths(x.len(), width, out.len());
    let gpu = x.gpu().clone();
    let variant = ShaderVariant::of_width(x.dtype(), width);
    let vector = variant.vector as usize;
    let rows = out.len() / width;
    let piece = gpu.rows_at_once(2 * width * x.dtype().size());
    for row in (0..rows).step_by(piece) {
        let here = piece.min(rows - row);
        let (from, x_first) = x.window(2 * row * width, 2 * here * width);
        let (to, out_first) = out.window(row * width, here * width);
        let count = here * width / vector;
        gpu.dispatch(&Dispatch {
            shader: &GEGLU,
            variant: variant.clone(),
            arrays: &[from, to],
            params: GegluParams {
                count: count as u32,
                width: (width / vector) as u32,
                x_first: x_first / variant.vector,
                out_first: out_first / variant.vector,
            },
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}
