//! Every shader.

use super::template::SUBGROUPS;
use super::{Gpu, Shader, Variant};
use crate::{activation, layer_norm};

/// What shaders share that treat each element alone.
pub(crate) const ELEMENTS: &str = include_str!("elements.wgsl");

/// What shaders share that take rows together.
pub(crate) const ROW: &str = include_str!("row.wgsl");

/// Threads of a workgroup of [`ROW`].
const ROW_THREADS: u32 = 128;

/// The variant of a shader with [`ROW`], and the rows that a workgroup of it takes: a subgroup for each row where there are
/// any, else 32 threads, or all of the workgroup for a row that keeps them busy.
pub(crate) fn of_rows(gpu: &Gpu, variant: Variant, width: usize) -> (Variant, usize) {
    let subgroup = gpu.subgroup_size().filter(|size| ROW_THREADS.is_multiple_of(*size));
    let lanes = subgroup.unwrap_or(if width < 2048 { 32 } else { ROW_THREADS });
    (variant.flag(SUBGROUPS, subgroup.is_some()).with("LANES", lanes), (ROW_THREADS / lanes) as usize)
}

/// The variants of a shader with [`ROW`].
pub(crate) fn variants_of_rows() -> Vec<Variant> {
    let of =
        |subgroups| Variant::basic().into_iter().map(move |v| v.flag(SUBGROUPS, subgroups).with("LANES", 32));
    of(false).chain(of(true)).collect()
}

/// Every shader: tests compile each of its variants.
pub static ALL: &[&Shader] =
    &[&activation::gpu::ACTIVATION, &activation::gpu::GEGLU, &layer_norm::gpu::LAYER_NORM];
