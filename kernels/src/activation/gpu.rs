//! The kernel for GPUs.

use super::{Activation, Gate, LEAKY_SLOPE};
use crate::DType;
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
    variants: || of_kinds(whole_vectors(), 0..7),
};

/// These variants of a shader, of each of these kinds.
fn of_kinds(variants: Vec<ShaderVariant>, kinds: impl Iterator<Item = u32> + Clone) -> Vec<ShaderVariant> {
    let of = |v: ShaderVariant| kinds.clone().map(move |kind| v.clone().with("KIND", kind));
    variants.into_iter().flat_map(of).collect()
}

/// The variants of a shader that computes whole vectors past the last value, too.
fn whole_vectors() -> Vec<ShaderVariant> {
    [DType::F32, DType::F16].map(|dtype| ShaderVariant::new(dtype, 4)).into()
}

/// The number of an activation in `elements.wgsl`.
pub(crate) fn number(kind: Activation) -> u32 {
    match kind {
        Activation::Silu => 0,
        Activation::Gelu => 1,
        Activation::QuickGelu => 2,
        Activation::Relu => 4,
        Activation::LeakyRelu => 5,
        Activation::GeluTanh => 6,
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GatedParams {
    count: u32,
    width: u32,
    x_first: u32,
    out_first: u32,
    slope: f32,
    pad: [u32; 3],
}

pub(crate) static GATED: Shader = Shader {
    name: "gated",
    sources: &[prelude::ELEMENTS, include_str!("gated.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Write],
    params: size_of::<GatedParams>(),
    variants: || of_kinds(ShaderVariant::basic(), [0, 1, 6].into_iter()),
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MultiplyParams {
    count: u32,
    values_first: u32,
    gates_first: u32,
    slope: f32,
}

pub(crate) static MULTIPLY_ACTIVATED: Shader = Shader {
    name: "multiply_activated",
    sources: &[prelude::ELEMENTS, include_str!("multiply_activated.wgsl")],
    bindings: &[BindingAccess::Write, BindingAccess::Read],
    params: size_of::<MultiplyParams>(),
    variants: || of_kinds(whole_vectors(), [0, 1, 6].into_iter()),
};

/// As [`super::activate`].
///
/// # Errors
/// A lost GPU, a command that it refused.
pub fn activate(kind: Activation, x: &mut Array) -> Result<(), GpuError> {
    in_place(number(kind), LEAKY_SLOPE, x)
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
    gated(Gate::GEGLU, x, width, out)
}

/// As [`super::gated`].
///
/// # Errors
/// As [`activate`].
///
/// # Panics
/// As [`super::gated`].
pub fn gated(gate: Gate, x: &Array, width: usize, out: &mut Array) -> Result<(), GpuError> {
    super::assert_gated_lengths(x.len(), width, out.len());
    let gpu = x.gpu().clone();
    let variant = ShaderVariant::of_width(x.dtype(), width)
        .with("KIND", number(gate.activation))
        .with("GATE_FIRST", u32::from(gate.gate_first));
    let vector = variant.vector as usize;
    let rows = out.len() / width;
    let piece = gpu.rows_at_once(2 * width * x.dtype().size());
    for row in (0..rows).step_by(piece) {
        let here = piece.min(rows - row);
        let (from, x_first) = x.window(2 * row * width, 2 * here * width);
        let (to, out_first) = out.window(row * width, here * width);
        let count = here * width / vector;
        gpu.dispatch(&Dispatch {
            shader: &GATED,
            variant: variant.clone(),
            arrays: &[from, to],
            params: GatedParams {
                count: count as u32,
                width: (width / vector) as u32,
                x_first: x_first / variant.vector,
                out_first: out_first / variant.vector,
                slope: LEAKY_SLOPE,
                pad: [0; 3],
            },
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}

/// As [`super::multiply_activated`].
///
/// # Errors
/// As [`activate`].
///
/// # Panics
/// As [`super::multiply_activated`], and if the dtypes differ.
pub fn multiply_activated(kind: Activation, values: &mut Array, gates: &Array) -> Result<(), GpuError> {
    assert_eq!(values.len(), gates.len(), "values and gates of different lengths");
    assert_eq!(values.dtype(), gates.dtype(), "values and gates of different dtypes");
    let gpu = values.gpu().clone();
    let (len, size) = (values.len(), values.dtype().size());
    let variant = ShaderVariant::new(values.dtype(), 4).with("KIND", number(kind));
    let piece = gpu.rows_at_once(4 * size) * 4;
    for start in (0..len).step_by(piece) {
        let here = piece.min(len - start);
        let (to, values_first) = values.window(start, here);
        let (from, gates_first) = gates.window(start, here);
        let count = here.div_ceil(4);
        gpu.dispatch(&Dispatch {
            shader: &MULTIPLY_ACTIVATED,
            variant: variant.clone(),
            arrays: &[to, from],
            params: MultiplyParams {
                count: count as u32,
                values_first: values_first / 4,
                gates_first: gates_first / 4,
                slope: LEAKY_SLOPE,
            },
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}
