//! Every shader.

use super::template::SUBGROUPS;
use super::{Gpu, Shader, Variant, peak};
use crate::{
    DType, activation, attention, conv2d, elementwise, gemm, group_norm, layer_norm, softmax, upsample,
};

/// What shaders share that treat each element alone.
pub(crate) const ELEMENTS: &str = include_str!("elements.wgsl");

/// What shaders share that take rows together.
pub(crate) const ROW: &str = include_str!("row.wgsl");

/// Threads of a workgroup of [`ROW`].
const ROW_THREADS: u32 = 128;

/// The variant of a shader with [`ROW`], and the rows that a workgroup of it takes: a subgroup for each row where there are
/// any, else 32 threads, or all of the workgroup for a row that keeps them busy.
pub(crate) fn of_rows(gpu: &Gpu, dtype: DType, width: usize) -> (Variant, usize) {
    let subgroup = gpu.subgroup_size().filter(|size| ROW_THREADS.is_multiple_of(*size));
    let lanes = subgroup.unwrap_or(if width < 2048 { 32 } else { ROW_THREADS });
    let variant = row_variant(Variant::of_width(dtype, width), subgroup.is_some(), lanes);
    (variant, (ROW_THREADS / lanes) as usize)
}

/// The variants of a shader with [`ROW`].
pub(crate) fn variants_of_rows() -> Vec<Variant> {
    let of = |subgroups| Variant::basic().into_iter().map(move |v| row_variant(v, subgroups, 32));
    of(false).chain(of(true)).collect()
}

fn row_variant(variant: Variant, subgroups: bool, lanes: u32) -> Variant {
    let scalar = variant.vector == 1;
    variant.flag("SCALAR", scalar).flag(SUBGROUPS, subgroups).with("LANES", lanes)
}

/// Every shader: tests compile each of its variants.
pub static ALL: &[&Shader] = &[
    &activation::gpu::ACTIVATION,
    &activation::gpu::GEGLU,
    &attention::gpu::ATTENTION,
    &attention::gpu::ATTENTION_MATRICES,
    &attention::gpu::ATTENTION_PART,
    &attention::gpu::ATTENTION_END,
    &conv2d::gpu::CONV2D,
    &elementwise::gpu::ADD,
    &elementwise::gpu::ADD_PER_CHANNEL,
    &elementwise::gpu::CONCAT,
    &elementwise::gpu::CONVERT,
    &elementwise::gpu::GUIDANCE,
    &gemm::gpu::GEMM,
    &gemm::gpu::SUM,
    &group_norm::gpu::APPLY,
    &group_norm::gpu::FINISH,
    &group_norm::gpu::STATISTICS,
    &layer_norm::gpu::LAYER_NORM,
    &softmax::gpu::SOFTMAX,
    &upsample::gpu::UPSAMPLE,
    &peak::MULTIPLY_ADD,
    &peak::MULTIPLY_MATRICES,
    &peak::STREAM,
];
