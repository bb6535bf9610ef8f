//! Every shader.

use super::{Shader, peak};
use crate::{activation, conv2d, elementwise, gemm, group_norm, upsample};

/// What shaders share that treat each element alone.
pub(crate) const ELEMENTS: &str = include_str!("elements.wgsl");

/// Every shader: tests compile each of its variants.
pub static ALL: &[&Shader] = &[
    &activation::gpu::ACTIVATION,
    &activation::gpu::GEGLU,
    &conv2d::gpu::CONV2D,
    &gemm::gpu::GEMM,
    &gemm::gpu::SUM,
    &elementwise::gpu::ADD,
    &elementwise::gpu::ADD_PER_CHANNEL,
    &elementwise::gpu::CONCAT,
    &elementwise::gpu::CONVERT,
    &elementwise::gpu::GUIDANCE,
    &group_norm::gpu::APPLY,
    &group_norm::gpu::FINISH,
    &group_norm::gpu::STATISTICS,
    &upsample::gpu::UPSAMPLE,
    &peak::MULTIPLY_ADD,
    &peak::STREAM,
];
