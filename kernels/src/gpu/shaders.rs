//! Every shader.

use super::{Shader, peak};
use crate::activation;

/// What shaders share that treat each element alone.
pub(crate) const ELEMENTS: &str = include_str!("elements.wgsl");

/// Every shader: tests compile each of its variants.
pub static ALL: &[&Shader] =
    &[&activation::gpu::ACTIVATION, &activation::gpu::GEGLU, &peak::MULTIPLY_ADD, &peak::STREAM];
