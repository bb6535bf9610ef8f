//! Attention.

use crate::error::TensorOp;
use crate::profile::{self, OpClass};
use crate::{Precision, Tensor, TensorError};
use latent_kernels::Isa;
use latent_kernels::attention::{self as kernel, Attention};

/// `softmax(q kᵀ / sqrt(head width)) v` for each of `heads` heads: `q` `[batch, queries, width]`, `k` and `v`
/// `[batch, keys, width]`, the result as `q`. With `causal`, query `i` sees keys `0..=i`.
///
/// # Errors
/// Shapes that do not agree, a width that is not a multiple of `heads`.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    causal: bool,
) -> Result<Tensor, TensorError> {
    attention_in(Precision::F32, q, k, v, heads, causal)
}

/// As [`attention`], with both products in a precision on the CPU; a GPU computes in its own.
///
/// # Errors
/// As [`attention`].
pub fn attention_in(
    precision: Precision,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    causal: bool,
) -> Result<Tensor, TensorError> {
    const OP: TensorOp = TensorOp::Attention;
    let [batch, queries, width] = q.rank(OP)?;
    let [key_batch, keys, key_width] = k.rank(OP)?;
    if (key_batch, key_width) != (batch, width) || keys == 0 || k.shape() != v.shape() {
        let expected = format_args!("keys and values [{batch}, n, {width}]");
        return Err(TensorError::shape(OP, expected, [k.shape(), v.shape()]));
    }
    if heads == 0 || width % heads != 0 || width == 0 {
        return Err(TensorError::shape(OP, format_args!("a width that {heads} heads divide"), width));
    }
    if causal && queries > keys {
        return Err(TensorError::shape(
            OP,
            format_args!("at least {queries} keys for the causal mask"),
            keys,
        ));
    }
    let shape = Attention { batch, queries, keys, heads, head_dim: width / heads, causal };
    let mut out = Tensor::scratch_like(q, q.dims())?;
    let _timer = profile::timer(OpClass::Attention).multiply_adds(out.shape().elements(), 2 * keys);
    #[cfg(feature = "gpu")]
    if let (Some(q), Some(k), Some(v), Some(to)) = (q.array(), k.array(), v.array(), out.array_mut()?) {
        kernel::gpu::attention(shape, q, k, v, to)?;
        return Ok(out);
    }
    kernel::attention_with(Isa::best(), precision, shape, q.f32s()?, k.f32s()?, v.f32s()?, out.f32s_mut()?);
    Ok(out)
}
