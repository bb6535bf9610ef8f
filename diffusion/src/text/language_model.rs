//! The large text encoder of a family of models, T5 or Qwen3: how it is asked, and what it gives.

use super::layers::LayerLoading;
use super::qwen3::{Qwen3Config, Qwen3Encoder, Qwen3Prompting};
use super::t5::{T5Config, T5Encoder};
use crate::Error;
use crate::blocks::BlockCount;
use crate::params::Params;
use crate::prompt::{self, Segment};
use crate::tokenizer::qwen3::Qwen3Tokenizer;
use crate::tokenizer::t5::T5Tokenizer;
use crate::tokenizer::{PaddedTokens, Token};
use std::ops::Range;

/// How a family uses its large text encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanguageModelRole {
    /// A T5, whose texts are filled up to that many tokens.
    T5 {
        /// The length of all texts.
        tokens: usize,
        /// Whether no token attends to padding (Chroma).
        masks_padding: bool,
    },
    /// A Qwen3.
    Qwen3(&'static Qwen3Prompting),
}

/// Sizes of a large text encoder.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LanguageModelConfig {
    /// Those of a T5.
    T5(T5Config),
    /// Those of a Qwen3.
    Qwen3(Qwen3Config),
}

/// The large text encoder of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct LanguageModel {
    /// How it is used.
    pub role: LanguageModelRole,
    /// Its sizes.
    pub config: LanguageModelConfig,
}

impl LanguageModelRole {
    /// Where its weights are, below those of the model.
    #[must_use]
    pub fn scope(self) -> &'static str {
        match self {
            LanguageModelRole::T5 { .. } => "t5",
            LanguageModelRole::Qwen3(_) => "qwen3",
        }
    }
}

impl LanguageModel {
    /// Width of what it gives for each token.
    #[must_use]
    pub fn width(&self) -> usize {
        match (&self.config, self.role) {
            (LanguageModelConfig::T5(config), _) => config.width,
            (LanguageModelConfig::Qwen3(config), LanguageModelRole::Qwen3(prompting)) => {
                config.width * prompting.states.len()
            }
            (LanguageModelConfig::Qwen3(config), LanguageModelRole::T5 { .. }) => config.width,
        }
    }

    /// Bytes that encoding so many texts at once takes besides the weights, estimated.
    #[must_use]
    pub fn encoding_bytes(&self, texts: usize) -> u64 {
        let tokens = match self.role {
            LanguageModelRole::T5 { tokens, .. } => tokens,
            LanguageModelRole::Qwen3(prompting) => prompting.max_tokens,
        };
        let (width, hidden) = match &self.config {
            LanguageModelConfig::T5(config) => (config.width, config.mlp_width),
            LanguageModelConfig::Qwen3(config) => (config.width, config.mlp_width),
        };
        // Hidden states with their norm, queries, keys and values, or both halves of a gated MLP; and the states that are kept.
        let values = 6 * width + 2 * hidden + self.width();
        (texts * tokens * values * size_of::<f32>()) as u64
    }
}

/// What a large text encoder makes of a text.
#[derive(Debug, Default)]
pub(crate) struct LanguageStates {
    /// Hidden states `[tokens, width]`.
    pub(crate) values: Vec<f32>,
    /// Tokens, with padding.
    pub(crate) tokens: usize,
    /// Tokens that the network sees: all, or those that are not padding.
    pub(crate) count: usize,
}

/// A loaded [`LanguageModel`].
#[derive(Debug)]
pub struct LanguageEncoder {
    role: LanguageModelRole,
    encoder: LoadedEncoder,
}

#[derive(Debug)]
enum LoadedEncoder {
    T5(T5Encoder),
    Qwen3(Qwen3Encoder),
}

impl LanguageEncoder {
    /// Loads it from the tensors below its scope.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(
        params: &Params<'_>,
        model: &LanguageModel,
        loading: LayerLoading,
    ) -> Result<LanguageEncoder, Error> {
        let states = match model.role {
            LanguageModelRole::T5 { .. } => &[][..],
            LanguageModelRole::Qwen3(prompting) => prompting.states,
        };
        let encoder = match &model.config {
            LanguageModelConfig::T5(config) => LoadedEncoder::T5(T5Encoder::load(params, config, loading)?),
            LanguageModelConfig::Qwen3(config) => {
                LoadedEncoder::Qwen3(Qwen3Encoder::load(params, config, states, loading)?)
            }
        };
        Ok(LanguageEncoder { role: model.role, encoder })
    }

    /// Number of layers that encoding computes, the blocks of a [`BlockCount`].
    pub(crate) fn blocks(&self) -> usize {
        match &self.encoder {
            LoadedEncoder::T5(t5) => t5.blocks(),
            LoadedEncoder::Qwen3(qwen3) => qwen3.blocks(),
        }
    }

    /// Encodes texts in the webui's language, all at once. The states of each token are multiplied by its weight, and all of
    /// a text by what restores their mean, as for CLIP.
    pub(crate) fn encode(
        &self,
        texts: &[String],
        count: &mut BlockCount<'_>,
    ) -> Result<Vec<LanguageStates>, Error> {
        let texts: Vec<_> = texts.iter().map(|text| WeightedTokens::of(text, &self.role)).collect();
        let tokens: Vec<PaddedTokens> = texts.iter().map(|text| text.tokens.clone()).collect();
        let states = match (&self.encoder, self.role) {
            (LoadedEncoder::T5(t5), LanguageModelRole::T5 { masks_padding, .. }) => {
                t5.encode(&tokens, masks_padding, count)?
            }
            (LoadedEncoder::T5(t5), LanguageModelRole::Qwen3(_)) => t5.encode(&tokens, false, count)?,
            (LoadedEncoder::Qwen3(qwen3), _) => qwen3.encode(&tokens, count)?,
        };
        let states = states.iter().zip(&texts).map(|(states, text)| {
            let mut values = states.f32s()?.to_vec();
            prompt::emphasize(&mut values, &text.weights);
            let tokens = text.tokens.ids.len();
            let count = match self.role {
                // Chroma's network sees one token of padding.
                LanguageModelRole::T5 { masks_padding: true, .. } => tokens.min(text.tokens.count + 1),
                LanguageModelRole::T5 { .. } | LanguageModelRole::Qwen3(_) => tokens,
            };
            Ok(LanguageStates { values, tokens, count })
        });
        states.collect()
    }
}

/// The tokens of a prompt and the weight of each.
struct WeightedTokens {
    tokens: PaddedTokens,
    weights: Vec<f32>,
}

impl WeightedTokens {
    fn of(text: &str, role: &LanguageModelRole) -> WeightedTokens {
        let (plain, spans) = plain(text);
        let (tokens, found, start) = match role {
            LanguageModelRole::T5 { tokens, .. } => {
                let t5 = T5Tokenizer::built_in();
                (t5.encode_padded(&plain, *tokens), t5.encode(&plain), 0)
            }
            LanguageModelRole::Qwen3(prompting) => {
                let whole = prompting.template.apply(&plain);
                let found = Qwen3Tokenizer::built_in().encode(&whole);
                (prompting.tokens(&plain), found, prompting.template.before.len())
            }
        };
        let weight = |token: &Token| {
            // A token of T5 begins with the space before its word.
            let at = token.bytes.end.checked_sub(1 + start)?;
            spans.iter().find(|(span, _)| span.contains(&at)).map(|(_, weight)| *weight as f32)
        };
        let mut weights: Vec<f32> = found.iter().map(|token| weight(token).unwrap_or(1.0)).collect();
        weights.resize(tokens.ids.len(), 1.0);
        WeightedTokens { tokens, weights }
    }
}

/// A prompt without its brackets, and the weights of its parts. The end of a chunk is a space.
fn plain(text: &str) -> (String, Vec<(Range<usize>, f64)>) {
    let (mut plain, mut spans) = (String::new(), Vec::new());
    for segment in prompt::parse(text) {
        match segment {
            Segment::Break => plain.push(' '),
            Segment::Text { text, weight } => {
                let start = plain.len();
                plain.push_str(&text);
                spans.push((start..plain.len(), weight));
            }
        }
    }
    (plain, spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::qwen3::Z_IMAGE;

    const T5: LanguageModelRole = LanguageModelRole::T5 { tokens: 16, masks_padding: false };

    #[test]
    fn weights_are_those_of_the_words() {
        for role in [T5, LanguageModelRole::Qwen3(&Z_IMAGE)] {
            let weighted = WeightedTokens::of("a (red:1.5) fox", &role);
            let plain = WeightedTokens::of("a red fox", &role);
            assert_eq!(weighted.tokens, plain.tokens);
            assert_eq!(weighted.weights.len(), weighted.tokens.ids.len());
            assert_eq!(weighted.weights.iter().filter(|weight| **weight == 1.5).count(), 1, "{role:?}");
            assert!(plain.weights.iter().all(|weight| *weight == 1.0));
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = WeightedTokens::of(&"word ".repeat(100), &T5);
        assert_eq!((text.tokens.ids.len(), text.tokens.count, text.weights.len()), (16, 16, 16));
    }
}
