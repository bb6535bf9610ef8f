//! Shader text that several ops begin with, and the variants that go with it.

use super::template::SUBGROUPS;
use super::{Gpu, ShaderVariant};
use crate::DType;

/// Text for shaders that treat each element alone.
pub(crate) const ELEMENTS: &str = include_str!("elements.wgsl");

/// Text for shaders that reduce rows.
pub(crate) const ROWS: &str = include_str!("row.wgsl");

/// Text for shaders that multiply matrices held by subgroups. It expects the constant `SUBGROUP` and the flag `SIDE_8`.
pub(crate) const MATRICES: &str = include_str!("cooperative.wgsl");

/// Threads of a workgroup of [`ROWS`].
const ROW_THREADS: u32 = 128;

/// The variant of a shader with [`ROWS`], and the number of rows that one of its workgroups takes. A row is reduced by a
/// subgroup if there are any, else by 32 threads, or by the whole workgroup if the row is long enough to keep it busy.
pub(crate) fn row_variant(gpu: &Gpu, dtype: DType, width: usize) -> (ShaderVariant, usize) {
    let subgroup = gpu.subgroup_size().filter(|size| ROW_THREADS.is_multiple_of(*size));
    let lanes = subgroup.unwrap_or(if width < 2048 { 32 } else { ROW_THREADS });
    let variant = with_lanes(ShaderVariant::of_width(dtype, width), subgroup.is_some(), lanes);
    (variant, (ROW_THREADS / lanes) as usize)
}

/// All variants of a shader with [`ROWS`].
pub(crate) fn row_variants() -> Vec<ShaderVariant> {
    let of = |subgroups| ShaderVariant::basic().into_iter().map(move |v| with_lanes(v, subgroups, 32));
    of(false).chain(of(true)).collect()
}

fn with_lanes(variant: ShaderVariant, subgroups: bool, lanes: u32) -> ShaderVariant {
    let scalar = variant.vector == 1;
    variant.flag("SCALAR", scalar).flag(SUBGROUPS, subgroups).with("LANES", lanes)
}
