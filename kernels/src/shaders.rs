//! The registry of all shaders. It stands above the ops, which do not know it: tests compile every shader that it lists.

use crate::gpu::peak;
use crate::gpu::shader::Shader;
use crate::{
    activation, attention, conv2d, elementwise, gemm, group_norm, layer_norm, modulation, quant, rms_norm,
    rotary, sampling, softmax, upsample,
};

/// Every shader. Tests compile each of its variants.
pub static ALL: &[&Shader] = &[
    &activation::gpu::ACTIVATION,
    &activation::gpu::GATED,
    &activation::gpu::MULTIPLY_ACTIVATED,
    &attention::gpu::ATTENTION,
    &attention::gpu::ATTENTION_BIASED,
    &attention::gpu::ATTENTION_MATRICES,
    &attention::gpu::ATTENTION_PART,
    &attention::gpu::ATTENTION_PART_BIASED,
    &attention::gpu::ATTENTION_END,
    &conv2d::gpu::CONV2D,
    &elementwise::gpu::ADD,
    &elementwise::gpu::ADD_PER_CHANNEL,
    &elementwise::gpu::CONCAT,
    &elementwise::gpu::CONVERT,
    &elementwise::gpu::GUIDANCE,
    &elementwise::gpu::SLICE,
    &gemm::gpu::GEMM,
    &gemm::gpu::SUM,
    &group_norm::gpu::APPLY,
    &group_norm::gpu::FINISH,
    &group_norm::gpu::STATISTICS,
    &layer_norm::gpu::LAYER_NORM,
    &modulation::gpu::MODULATION,
    &quant::gpu::DEQUANTIZE,
    &rms_norm::gpu::RMS_NORM,
    &rms_norm::gpu::RMS_NORM_MODULATED,
    &rotary::gpu::ROTARY,
    &sampling::gpu::LINEAR_COMBINATION,
    &sampling::gpu::NOT_FINITE,
    &sampling::gpu::SELECT,
    &softmax::gpu::SOFTMAX,
    &upsample::gpu::UPSAMPLE,
    &peak::MULTIPLY_ADD,
    &peak::MULTIPLY_MATRICES,
    &peak::STREAM,
];
