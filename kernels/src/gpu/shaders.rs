//! Every shader.

use super::Shader;
use crate::{activation, conv2d, gemm};

/// What shaders share that treat each element alone.
pub(crate) const ELEMENTS: &str = include_str!("elements.wgsl");

/// Every shader: tests compile each of its variants.
pub static ALL: &[&Shader] = &[
    &activation::gpu::ACTIVATION,
    &activation::gpu::GEGLU,
    &conv2d::gpu::CONV2D,
    &gemm::gpu::GEMM,
    &gemm::gpu::SUM,
];
