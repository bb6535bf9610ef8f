//! Sizes of a T5 encoder, read from the shapes of its tensors.

use super::bias::BUCKETS;
use crate::Error;
use latent_loader::Weights;

/// Sizes of a `T5EncoderModel` of version 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct T5Config {
    /// Rows of the token table.
    pub vocabulary: usize,
    /// Channels of the hidden states.
    pub width: usize,
    /// Layers, each of an attention and a feed-forward.
    pub layers: usize,
    /// Heads of the attention.
    pub heads: usize,
    /// Channels of all heads.
    pub inner_width: usize,
    /// Channels of the feed-forward.
    pub mlp_width: usize,
}

impl T5Config {
    /// Reads the sizes from tensors named as transformers names them.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing, or a T5 of another version.
    pub fn from_weights(weights: &Weights) -> Result<T5Config, Error> {
        let refuse = |reason: &str| {
            Err(Error::Unsupported { file: weights.label().to_owned(), reason: reason.to_owned() })
        };
        let block = |i: usize| weights.scope("encoder.block").scope(i);
        let bias =
            |i| block(i).shape("layer.0.SelfAttention.relative_attention_bias.weight").map(<[_]>::to_vec);
        let first = block(0);
        if first.contains("layer.1.DenseReluDense.wi.weight") {
            return refuse("is a T5 of version 1.0, whose feed-forward has no gate; give one of version 1.1");
        }
        if bias(1).is_some() {
            return refuse("is a UMT5, which has position biases in each layer; give a T5 of version 1.1");
        }
        let config = T5Config {
            vocabulary: weights.dim("shared.weight", 0)?,
            width: weights.dim("shared.weight", 1)?,
            layers: (0..).take_while(|i| block(*i).contains("layer.0.SelfAttention.q.weight")).count(),
            heads: first.dim("layer.0.SelfAttention.relative_attention_bias.weight", 1)?,
            inner_width: first.dim("layer.0.SelfAttention.q.weight", 0)?,
            mlp_width: first.dim("layer.1.DenseReluDense.wi_0.weight", 0)?,
        };
        let T5Config { heads, inner_width, .. } = config;
        if bias(0).and_then(|shape| shape.first().copied()) != Some(BUCKETS) {
            return refuse("is not a T5 of 32 buckets of distances; give a T5 of version 1.1, such as t5xxl");
        }
        if heads == 0 || inner_width == 0 || !inner_width.is_multiple_of(heads) {
            return refuse(&format!("a T5 with {heads} heads of {inner_width} channels cannot be built"));
        }
        Ok(config)
    }
}
