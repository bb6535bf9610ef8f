//! Sizes of a Qwen3, read from the shapes of its tensors.

use crate::Error;
use latent_loader::Weights;

/// Sizes of a `Qwen3Model`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qwen3Config {
    /// Rows of the token table.
    pub vocabulary: usize,
    /// Channels of the hidden states.
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_width: usize,
    /// Channels of the feed-forward.
    pub mlp_width: usize,
}

impl Qwen3Config {
    /// Reads the sizes from tensors named as transformers names them.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing, or the sizes do not make a Qwen3.
    pub fn from_weights(weights: &Weights) -> Result<Qwen3Config, Error> {
        let refuse = |reason: String| Err(Error::Unsupported { file: weights.label().to_owned(), reason });
        let model = weights.scope("model");
        let layer = |i: usize| model.scope("layers").scope(i);
        let first = layer(0);
        if first.contains("self_attn.q_proj.weight") && !first.contains("self_attn.q_norm.weight") {
            return refuse("is a language model whose queries have no norm; give a Qwen3".to_owned());
        }
        let head_width = first.dim("self_attn.q_norm.weight", 0)?;
        let rows = |name: &str| first.dim(&format!("self_attn.{name}.weight"), 0);
        let (q, k) = (rows("q_proj")?, rows("k_proj")?);
        let (heads, kv_heads) = (q / head_width.max(1), k / head_width.max(1));
        let is_whole = heads * head_width == q && kv_heads * head_width == k && head_width.is_multiple_of(2);
        if !is_whole || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return refuse(format!("queries of {q} and keys of {k} channels are not heads of {head_width}"));
        }
        Ok(Qwen3Config {
            vocabulary: model.dim("embed_tokens.weight", 0)?,
            width: model.dim("embed_tokens.weight", 1)?,
            layers: (0..).take_while(|i| layer(*i).contains("self_attn.q_proj.weight")).count(),
            heads,
            kv_heads,
            head_width,
            mlp_width: first.dim("mlp.gate_proj.weight", 0)?,
        })
    }

    /// The index of a hidden state from the start, of one from either end; `None` if there is none.
    #[must_use]
    pub fn state_index(&self, state: isize) -> Option<usize> {
        let count = self.layers + 1;
        let index = if state < 0 { count.checked_add_signed(state) } else { usize::try_from(state).ok() };
        index.filter(|index| *index < count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_counted_from_either_end() {
        let [vocabulary, width, heads, kv_heads, head_width, mlp_width] = [100, 32, 2, 1, 16, 64];
        let config = Qwen3Config { vocabulary, width, layers: 4, heads, kv_heads, head_width, mlp_width };
        for (state, index) in
            [(0, Some(0)), (4, Some(4)), (5, None), (-1, Some(4)), (-2, Some(3)), (-5, Some(0)), (-6, None)]
        {
            assert_eq!(config.state_index(state), index, "{state}");
        }
    }
}
