//! Operations that do not depend on shapes.

use super::super::assert_sum_lengths;
use super::THREADS;
use crate::DType;
use crate::activation;
use crate::gpu::{Array, BindingAccess, Dispatch, Gpu, GpuError, Shader, ShaderVariant, in_rows, prelude};
use bytemuck::{Pod, Zeroable};
use std::ops::Range;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct AddParams {
    count: u32,
    a_first: u32,
    b_first: u32,
    pad: u32,
}

pub(crate) static ADD: Shader = Shader {
    name: "add",
    sources: &[prelude::ELEMENTS, include_str!("../add.wgsl")],
    bindings: &[BindingAccess::Write, BindingAccess::Read],
    params: size_of::<AddParams>(),
    variants: || {
        let dtypes = [DType::F32, DType::F16].into_iter();
        let both = |dtype| [false, true].map(|attends| ShaderVariant::new(dtype, 4).flag(ATTENTION, attends));
        dtypes.flat_map(both).collect()
    },
};

/// The flag for an attention without parameters in place of a sum.
const ATTENTION: &str = "ATTENTION";

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GuidanceParams {
    count: u32,
    without_first: u32,
    conditioned_first: u32,
    out_first: u32,
    k: f32,
    pad: [u32; 3],
}

pub(crate) static GUIDANCE: Shader = Shader {
    name: "guidance",
    sources: &[prelude::ELEMENTS, include_str!("../guidance.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<GuidanceParams>(),
    variants: ShaderVariant::basic,
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ConvertParams {
    count: u32,
    x_first: u32,
    out_first: u32,
    pad: u32,
}

pub(crate) static CONVERT: Shader = Shader {
    name: "convert",
    sources: &[prelude::ELEMENTS, include_str!("../convert.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Write],
    params: size_of::<ConvertParams>(),
    variants: || {
        let mut all = ShaderVariant::basic();
        all.push(ShaderVariant::new(DType::F32, 4).flag("FROM_F16", true));
        all.push(ShaderVariant::new(DType::F16, 4).flag("FROM_F32", true));
        all
    },
};

/// `a += b`, of any shape. The two must not share memory.
///
/// # Errors
/// A lost GPU, a command that it refused.
///
/// # Panics
/// If the lengths or the dtypes differ.
pub fn add_assign(a: &mut Array, b: &Array) -> Result<(), GpuError> {
    combine(a, b, false)
}

/// As [`super::super::parameter_free_attention`]. The two must not share memory.
///
/// # Errors
/// As [`add_assign`].
///
/// # Panics
/// As [`add_assign`].
pub fn parameter_free_attention(a: &mut Array, b: &Array) -> Result<(), GpuError> {
    combine(a, b, true)
}

fn combine(a: &mut Array, b: &Array, attends: bool) -> Result<(), GpuError> {
    assert_sum_lengths(a.len(), b.len());
    assert_eq!(a.dtype(), b.dtype(), "sum of different dtypes");
    let gpu = a.gpu().clone();
    for [start, here] in pieces(&gpu, a.len(), a.dtype().size()) {
        let (to, a_first) = a.window(start, here);
        let (from, b_first) = b.window(start, here);
        // The memory is whole vectors, so the last one may be computed past the end.
        let count = here.div_ceil(4);
        gpu.dispatch(&Dispatch {
            shader: &ADD,
            variant: ShaderVariant::new(a.dtype(), 4).flag(ATTENTION, attends),
            arrays: &[to, from],
            params: AddParams { count: count as u32, a_first: a_first / 4, b_first: b_first / 4, pad: 0 },
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}

/// `x *= k`, of any shape.
///
/// # Errors
/// As [`add_assign`].
pub fn scale(x: &mut Array, k: f32) -> Result<(), GpuError> {
    activation::gpu::scale(x, k)
}

/// Classifier-free guidance (Ho and Salimans 2022): `out = without + k (with - without)`, where the first half of `x` is
/// without the condition and the second half with it.
///
/// # Errors
/// As [`add_assign`].
///
/// # Panics
/// If `x` is not twice as long as `out`, or of another dtype.
pub fn guidance(x: &Array, k: f32, out: &mut Array) -> Result<(), GpuError> {
    assert_eq!(x.len(), 2 * out.len(), "guidance of two halves");
    assert_eq!(x.dtype(), out.dtype(), "guidance to another dtype");
    let gpu = x.gpu().clone();
    let half = out.len();
    // The second half may begin within a vector.
    let variant = ShaderVariant::of_width(x.dtype(), half);
    for [start, here] in pieces(&gpu, half, x.dtype().size()) {
        let (without, without_first) = x.window(start, here);
        let (conditioned, conditioned_first) = x.window(half + start, here);
        let (to, out_first) = out.window(start, here);
        let count = here / variant.vector as usize;
        gpu.dispatch(&Dispatch {
            shader: &GUIDANCE,
            variant: variant.clone(),
            arrays: &[without, conditioned, to],
            params: GuidanceParams {
                count: count as u32,
                without_first: without_first / variant.vector,
                conditioned_first: conditioned_first / variant.vector,
                out_first: out_first / variant.vector,
                k,
                pad: [0; 3],
            },
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}

/// A copy in the dtype of `out`: from `f32` to `f16` (if the GPU has it), from `f16` to `f32` (on every GPU), or
/// without a change.
///
/// # Errors
/// As [`add_assign`].
///
/// # Panics
/// If the lengths differ, or a dtype is `BF16`.
pub fn convert(x: &Array, out: &mut Array) -> Result<(), GpuError> {
    assert_eq!(x.len(), out.len(), "a copy of another length");
    let variant = match (x.dtype(), out.dtype()) {
        (from, to) if from == to => ShaderVariant::new(to, 4),
        (DType::F16, DType::F32) => ShaderVariant::new(DType::F32, 4).flag("FROM_F16", true),
        (DType::F32, DType::F16) => ShaderVariant::new(DType::F16, 4).flag("FROM_F32", true),
        (from, to) => panic!("no conversion of {from} to {to}"),
    };
    copy_as(&variant, x, 0..x.len(), out, 0)
}

/// `out` is `x`, then `x` again, `times` times in all.
///
/// # Errors
/// As [`add_assign`].
///
/// # Panics
/// If the length of `out` is not `times` that of `x`, or its dtype is another.
pub fn repeat(x: &Array, times: usize, out: &mut Array) -> Result<(), GpuError> {
    assert_eq!(x.len() * times, out.len(), "{times} copies");
    assert_eq!(x.dtype(), out.dtype(), "copies in another dtype");
    (0..times).try_for_each(|i| copy(x, 0..x.len(), out, i * x.len()))
}

/// Copies a part of `x` to `out` from `at` on, in the dtype of both.
///
/// # Errors
/// As [`add_assign`].
///
/// # Panics
/// If there are no such values.
pub(crate) fn copy(x: &Array, part: Range<usize>, out: &Array, at: usize) -> Result<(), GpuError> {
    let is_whole = part.start == 0 && at == 0 && part.len() == out.len();
    // But for a copy of all of it, a vector must not reach past the part.
    let is_aligned = [part.start, part.len(), at].iter().all(|index| index.is_multiple_of(4));
    let variant = ShaderVariant::new(x.dtype(), if is_whole || is_aligned { 4 } else { 1 });
    copy_as(&variant, x, part, out, at)
}

fn copy_as(
    variant: &ShaderVariant,
    x: &Array,
    part: Range<usize>,
    out: &Array,
    at: usize,
) -> Result<(), GpuError> {
    let gpu = x.gpu().clone();
    for [start, here] in pieces(&gpu, part.len(), x.dtype().size().max(out.dtype().size())) {
        let (from, x_first) = x.window(part.start + start, here);
        let (to, out_first) = out.window(at + start, here);
        let count = here.div_ceil(variant.vector as usize);
        gpu.dispatch(&Dispatch {
            shader: &CONVERT,
            variant: variant.clone(),
            arrays: &[from, to],
            params: ConvertParams {
                count: count as u32,
                x_first: x_first / variant.vector,
                out_first: out_first / variant.vector,
                pad: 0,
            },
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}

/// `[start, length]` of the parts of an array that can be bound; all but the last are whole vectors.
pub(crate) fn pieces(gpu: &Gpu, len: usize, size: usize) -> impl Iterator<Item = [usize; 2]> + use<> {
    let piece = gpu.rows_at_once(4 * size) * 4;
    (0..len).step_by(piece).map(move |start| [start, piece.min(len - start)])
}
