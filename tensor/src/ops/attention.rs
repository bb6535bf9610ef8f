//! Attention.

use crate::error::TensorOp;
use crate::profile::{self, OpClass};
use crate::{Precision, Tensor, TensorError};
use latent_kernels::attention::{self as kernel, Attention, ScoreTerms};

/// The heads of an attention, and what counts in its scores.
#[derive(Clone, Copy, Debug)]
pub struct AttentionOptions<'a> {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values, a divisor of `heads`: each serves as many neighbouring heads of queries.
    pub kv_heads: usize,
    /// Whether query `i` sees only keys `0..=i`.
    pub causal: bool,
    /// What products of queries and keys are multiplied by; `1 / sqrt(head width)` if there is none.
    pub scale: Option<f32>,
    /// For each sequence, how many of its keys count, at least one: the others are padding.
    pub key_lengths: Option<&'a [usize]>,
    /// `[heads, queries, keys]`, added to the scores of every sequence.
    pub bias: Option<&'a Tensor>,
    /// What both products are computed in on the CPU; a GPU computes in its own.
    pub precision: Precision,
}

impl AttentionOptions<'_> {
    /// Plain attention: as many heads of keys as of queries, no mask, no bias, in `f32`.
    #[must_use]
    pub fn new(heads: usize) -> Self {
        AttentionOptions {
            heads,
            kv_heads: heads,
            causal: false,
            scale: None,
            key_lengths: None,
            bias: None,
            precision: Precision::F32,
        }
    }
}

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
    attention_with(q, k, v, &AttentionOptions { causal, precision, ..AttentionOptions::new(heads) })
}

/// `softmax(scale q kᵀ + bias) v` for each head, over the keys that count: `q` `[batch, queries, heads * head width]`, `k` and `v`
/// `[batch, keys, kv_heads * head width]`, the result as `q`.
///
/// # Errors
/// Shapes that do not agree, heads that do not divide the width, lengths of keys that are not.
pub fn attention_with(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    options: &AttentionOptions<'_>,
) -> Result<Tensor, TensorError> {
    let shape = shape(q, k, v, options)?;
    let (key_lengths, scale) = (options.key_lengths, options.scale);
    let mut out = Tensor::scratch_like(q, q.dims())?;
    let _timer = profile::timer(OpClass::Attention).multiply_adds(out.shape().elements(), 2 * shape.keys);
    #[cfg(feature = "gpu")]
    if let (Some(q), Some(k), Some(v), Some(to)) = (q.array(), k.array(), v.array(), out.array_mut()?) {
        let other = || TensorError::wrong_device(TensorOp::Attention, "the GPU", "the CPU");
        let bias = options.bias.map(|bias| bias.array().ok_or_else(other)).transpose()?;
        kernel::gpu::attention_of_scores(shape, &ScoreTerms { scale, key_lengths, bias }, [q, k, v], to)?;
        return Ok(out);
    }
    let bias = options.bias.map(Tensor::f32s).transpose()?;
    let terms = ScoreTerms { scale, key_lengths, bias };
    let qkv = [q.f32s()?, k.f32s()?, v.f32s()?];
    kernel::attention_of_scores(options.precision, shape, &terms, qkv, out.f32s_mut()?);
    Ok(out)
}

/// Checks the shapes of the tensors, and of what counts in the scores.
fn shape(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    options: &AttentionOptions<'_>,
) -> Result<Attention, TensorError> {
    const OP: TensorOp = TensorOp::Attention;
    let &AttentionOptions { heads, kv_heads, causal, .. } = options;
    let [batch, queries, width] = q.rank(OP)?;
    let [key_batch, keys, key_width] = k.rank(OP)?;
    if heads == 0 || width % heads != 0 || width == 0 {
        return Err(TensorError::shape(OP, format_args!("a width that {heads} heads divide"), width));
    }
    if kv_heads == 0 || heads % kv_heads != 0 {
        return Err(TensorError::shape(OP, format_args!("heads of keys that divide {heads}"), kv_heads));
    }
    let expected_width = width / heads * kv_heads;
    if (key_batch, key_width) != (batch, expected_width) || keys == 0 || k.shape() != v.shape() {
        let expected = format_args!("keys and values [{batch}, n, {expected_width}]");
        return Err(TensorError::shape(OP, expected, [k.shape(), v.shape()]));
    }
    if causal && queries > keys {
        let expected = format_args!("at least {queries} keys for the causal mask");
        return Err(TensorError::shape(OP, expected, keys));
    }
    if let Some(lengths) = options.key_lengths
        && !(lengths.len() == batch && lengths.iter().all(|length| (1..=keys).contains(length)))
    {
        let expected = format_args!("{batch} lengths from 1 to {keys}");
        return Err(TensorError::shape(OP, expected, lengths));
    }
    if let Some(bias) = options.bias.filter(|bias| bias.dims() != [heads, queries, keys]) {
        return Err(TensorError::shape(
            OP,
            format_args!("a bias [{heads}, {queries}, {keys}]"),
            bias.shape(),
        ));
    }
    Ok(Attention { batch, queries, keys, heads, kv_heads, head_dim: width / heads, causal })
}
