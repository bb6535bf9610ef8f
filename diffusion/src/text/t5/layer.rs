//! A layer of a T5 encoder.

use super::super::layers::TextLayer;
use super::{EPS, T5Config};
use crate::Error;
use crate::params::Params;
use latent_tensor::ops::AttentionOptions;
use latent_tensor::{Activation, Linear, RmsNorm, Tensor, ops};

/// Self-attention and a gated feed-forward, each applied to an RMS norm of its input and added to the input (`T5Block`).
pub(super) struct T5Block {
    attention_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    feed_forward_norm: RmsNorm,
    wi_0: Linear,
    wi_1: Linear,
    wo: Linear,
    heads: usize,
}

impl TextLayer for T5Block {
    type Sizes = T5Config;

    fn load(params: &Params<'_>, sizes: &T5Config) -> Result<T5Block, Error> {
        let &T5Config { width, inner_width, mlp_width, heads, .. } = sizes;
        let (attention, feed_forward) = (params.scope("layer.0"), params.scope("layer.1"));
        let projection = |name, outputs, inputs| {
            attention.scope("SelfAttention").linear_without_bias(name, outputs, inputs)
        };
        let dense = |name, outputs, inputs| {
            feed_forward.scope("DenseReluDense").linear_without_bias(name, outputs, inputs)
        };
        Ok(T5Block {
            attention_norm: attention.rms_norm("layer_norm", width, EPS)?,
            q: projection("q", inner_width, width)?,
            k: projection("k", inner_width, width)?,
            v: projection("v", inner_width, width)?,
            o: projection("o", width, inner_width)?,
            feed_forward_norm: feed_forward.rms_norm("layer_norm", width, EPS)?,
            wi_0: dense("wi_0", mlp_width, width)?,
            wi_1: dense("wi_1", mlp_width, width)?,
            wo: dense("wo", width, mlp_width)?,
            heads,
        })
    }
}

impl T5Block {
    /// `x` `[texts, tokens, width]`, `bias` `[heads, tokens, tokens]`. Scores are not scaled: the queries' weights are.
    pub(super) fn forward(
        &self,
        x: Tensor,
        bias: &Tensor,
        key_lengths: Option<&[usize]>,
    ) -> Result<Tensor, Error> {
        let hidden = ops::rms_norm(&x, &self.attention_norm)?;
        let [q, k, v] = ops::linear_many(&hidden, [&self.q, &self.k, &self.v])?;
        let options = AttentionOptions {
            scale: Some(1.0),
            bias: Some(bias),
            key_lengths,
            ..AttentionOptions::new(self.heads)
        };
        let x = ops::linear_add(&ops::attention_with(&q, &k, &v, &options)?, &self.o, x)?;
        let hidden = ops::rms_norm(&x, &self.feed_forward_norm)?;
        let hidden = ops::linear_gated_by(&hidden, &self.wi_1, &self.wi_0, Activation::GeluTanh)?;
        Ok(ops::linear_add(&hidden, &self.wo, x)?)
    }
}
