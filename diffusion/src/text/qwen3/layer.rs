//! A layer of a Qwen3.

use super::super::layers::TextLayer;
use super::{EPS, Qwen3Config};
use crate::Error;
use crate::params::Params;
use latent_tensor::ops::AttentionOptions;
use latent_tensor::{Activation, Linear, RmsNorm, RotaryTable, Tensor, ops};

/// Causal self-attention with normalised and rotated queries and keys, and a gated feed-forward, each applied to an RMS norm of
/// its input and added to the input (`Qwen3DecoderLayer`).
pub(super) struct Qwen3Layer {
    input_layernorm: RmsNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    post_attention_layernorm: RmsNorm,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    heads: usize,
    kv_heads: usize,
}

impl TextLayer for Qwen3Layer {
    type Sizes = Qwen3Config;

    fn load(params: &Params<'_>, sizes: &Qwen3Config) -> Result<Qwen3Layer, Error> {
        let &Qwen3Config { width, heads, kv_heads, head_width, mlp_width, .. } = sizes;
        let (attention, mlp) = (params.scope("self_attn"), params.scope("mlp"));
        Ok(Qwen3Layer {
            input_layernorm: params.rms_norm("input_layernorm", width, EPS)?,
            q_proj: attention.linear_without_bias("q_proj", heads * head_width, width)?,
            k_proj: attention.linear_without_bias("k_proj", kv_heads * head_width, width)?,
            v_proj: attention.linear_without_bias("v_proj", kv_heads * head_width, width)?,
            o_proj: attention.linear_without_bias("o_proj", width, heads * head_width)?,
            q_norm: attention.rms_norm("q_norm", head_width, EPS)?,
            k_norm: attention.rms_norm("k_norm", head_width, EPS)?,
            post_attention_layernorm: params.rms_norm("post_attention_layernorm", width, EPS)?,
            gate_proj: mlp.linear_without_bias("gate_proj", mlp_width, width)?,
            up_proj: mlp.linear_without_bias("up_proj", mlp_width, width)?,
            down_proj: mlp.linear_without_bias("down_proj", width, mlp_width)?,
            heads,
            kv_heads,
        })
    }
}

impl Qwen3Layer {
    /// `x` `[texts, tokens, width]`.
    pub(super) fn forward(
        &self,
        x: Tensor,
        rotations: &RotaryTable,
        key_lengths: &[usize],
    ) -> Result<Tensor, Error> {
        let hidden = ops::rms_norm(&x, &self.input_layernorm)?;
        let [q, k, v] = ops::linear_many(&hidden, [&self.q_proj, &self.k_proj, &self.v_proj])?;
        let q = ops::rotary(ops::rms_norm(&q, &self.q_norm)?, rotations)?;
        let k = ops::rotary(ops::rms_norm(&k, &self.k_norm)?, rotations)?;
        let options = AttentionOptions {
            kv_heads: self.kv_heads,
            causal: true,
            key_lengths: Some(key_lengths),
            ..AttentionOptions::new(self.heads)
        };
        let x = ops::linear_add(&ops::attention_with(&q, &k, &v, &options)?, &self.o_proj, x)?;
        let hidden = ops::rms_norm(&x, &self.post_attention_layernorm)?;
        let hidden = ops::linear_gated_by(&hidden, &self.up_proj, &self.gate_proj, Activation::Silu)?;
        Ok(ops::linear_add(&hidden, &self.down_proj, x)?)
    }
}
