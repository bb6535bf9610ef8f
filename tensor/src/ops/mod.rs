//! One thin, checked function per op: it checks shapes, takes memory from the pool and calls the kernel.

mod activation;
mod attention;
mod bands;
mod conv2d;
mod elementwise;
mod embedding;
mod fusion;
#[cfg(all(test, feature = "gpu"))]
mod gpu_tests;
mod group_norm;
mod layer_norm;
mod linear;
mod linear_gated;
mod modulation;
mod parameter;
mod rms_norm;
mod rotary;
mod sampling;
mod slice;
mod softmax;
#[cfg(test)]
mod tests;
mod token_merging;
mod upsample;
mod wrap;

pub use activation::{gated, geglu, gelu, gelu_tanh, leaky_relu, multiply_activated, quick_gelu, relu, silu};
pub use attention::{AttentionOptions, attention, attention_in, attention_with};
pub use bands::{conv2d_add, conv2d_append, linear_append};
pub use conv2d::{Conv2d, conv2d, conv2d_fused};
pub use elementwise::{
    Prelu, add, add_per_channel, concat_channels, guidance, parameter_free_attention, prelu, scale,
};
pub use embedding::{Embedding, embedding};
pub use fusion::{Epilogue, Prologue};
pub use group_norm::{GroupNorm, NormSums, PrecomputedNorm, group_norm, group_norm_silu};
pub use layer_norm::{LayerNorm, layer_norm, layer_norm_modulated};
pub use linear::{Linear, linear, linear_add, linear_in_place, linear_many};
pub use linear_gated::{linear_activated, linear_gated, linear_gated_by, linear_geglu};
pub use modulation::{add_gated, modulate};
pub use rms_norm::{RmsNorm, rms_norm, rms_norm_modulated};
pub use rotary::{RotaryTable, rotary};
pub use sampling::{FiniteCheck, all_finite, index_select, linear_combination, select};
pub use slice::slice_channels;
pub use softmax::softmax;
pub use token_merging::{TokenMerge, match_tokens, merge_tokens, unmerge_add};
pub use upsample::upsample_nearest;

use crate::error::{ShapeRequirement, TensorOp};
use crate::{Tensor, TensorError};

/// Checks that two tensors have the same shape.
fn same_shape(op: TensorOp, a: &Tensor, b: &Tensor) -> Result<(), TensorError> {
    if a.shape() == b.shape() { Ok(()) } else { Err(TensorError::shape(op, a.shape(), b.shape())) }
}

/// Checks the length of a parameter.
fn check_len(op: TensorOp, name: &'static str, values: &[f32], expected: usize) -> Result<(), TensorError> {
    if values.len() == expected {
        return Ok(());
    }
    let expected = ShapeRequirement::Parameter { name, dims: vec![expected] };
    Err(TensorError::shape(op, expected, values.len()))
}
