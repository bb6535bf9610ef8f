//! T5's tokenizer: text to ids of a vocabulary of 32,100 pieces (SentencePiece; Kudo and Richardson 2018).
//!
//! The ids are those of transformers' `T5TokenizerFast`: the text is normalised (`normalize.rs`) and cut into words that begin
//! with `▁`; each word becomes the pieces of the largest probability under a unigram model (`unigram.rs`; Kudo 2018).

mod normalize;
#[cfg(test)]
mod tests;
mod unigram;

use super::token::{PaddedTokens, Part, Token, parts};
use normalize::Normalizer;
use std::sync::OnceLock;
use unigram::Unigram;

/// The token that fills up a text.
pub const PADDING: u32 = 0;
/// The token after a text.
pub const END: u32 = 1;
/// The token of characters that are in no piece.
pub const UNKNOWN: u32 = 2;
/// Number of tokens.
pub const VOCABULARY: u32 = 32_100;

/// Number of sentinels, `<extra_id_0>` and so on, the last tokens of the vocabulary in falling order.
const SENTINELS: u32 = 100;

/// The tokenizer of T5 v1.1, which SD 3, Flux and others use.
#[derive(Debug)]
pub struct T5Tokenizer {
    normalizer: Normalizer,
    unigram: Unigram,
}

impl T5Tokenizer {
    /// The tokenizer with its vocabulary, which is built in and unpacked when it is first used.
    ///
    /// ```
    /// use latent_diffusion::tokenizer::t5::T5Tokenizer;
    /// let tokens = T5Tokenizer::built_in().encode("A lighthouse");
    /// assert_eq!(tokens.iter().map(|token| token.id).collect::<Vec<_>>(), [71, 659, 1840]);
    /// assert_eq!(tokens[1].bytes, 1..7);
    /// ```
    #[must_use]
    pub fn built_in() -> &'static T5Tokenizer {
        static T5: OnceLock<T5Tokenizer> = OnceLock::new();
        T5.get_or_init(|| T5Tokenizer { normalizer: Normalizer::built_in(), unigram: Unigram::built_in() })
    }

    /// The tokens of a text, without [`END`]. It takes time and memory in proportion to the text.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        for part in parts(text, special) {
            let part = match part {
                Part::Special(token) => {
                    tokens.push(token);
                    continue;
                }
                Part::Text(part) => part,
            };
            let mapped = self.normalizer.normalize(text, part);
            for word in normalize::words(mapped.text()) {
                self.unigram.encode(&mapped.text()[word.clone()], |id, piece| {
                    let piece = word.start + piece.start..word.start + piece.end;
                    tokens.push(Token { id, bytes: mapped.source(piece) });
                });
            }
        }
        tokens
    }

    /// The ids of a text and [`END`], truncated if they are more than `length`, and padded.
    #[must_use]
    pub fn encode_padded(&self, text: &str, length: usize) -> PaddedTokens {
        let kept = self.encode(text).into_iter().take(length.saturating_sub(1));
        let ids = kept.map(|token| token.id).chain([END]).take(length).collect();
        PaddedTokens::new(ids, length, PADDING)
    }
}

/// The special token that a text begins with: its length and id.
fn special(text: &str) -> Option<(usize, u32)> {
    for (written, id) in [("<pad>", PADDING), ("</s>", END), ("<unk>", UNKNOWN)] {
        if text.starts_with(written) {
            return Some((written.len(), id));
        }
    }
    let digits = text.strip_prefix("<extra_id_")?;
    let len = digits.bytes().take_while(u8::is_ascii_digit).take(3).count();
    let number: u32 = digits[..len].parse().ok().filter(|number| *number < SENTINELS)?;
    let is_canonical = len == 1 || !digits.starts_with('0');
    let is_closed = digits[len..].starts_with('>');
    (is_canonical && is_closed).then(|| (text.len() - digits.len() + len + 1, VOCABULARY - 1 - number))
}
