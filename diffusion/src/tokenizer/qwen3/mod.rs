//! Qwen3's tokenizer: text to ids of a vocabulary of 151,669 pieces.
//!
//! The ids are those of transformers' `Qwen2TokenizerFast`: special tokens are recognised, the text between them is normalised
//! (Unicode NFC) and split into words (`words.rs`), and the bytes of each word are merged by byte-pair encoding.

#[cfg(test)]
mod tests;
mod words;

use super::bpe::Bpe;
use super::mapped::MappedText;
use super::token::{PaddedTokens, Part, Token, parts};
use super::unpack::unpack_numbers;
use std::sync::OnceLock;

/// The token that fills up a text, `<|endoftext|>`.
pub const PADDING: u32 = FIRST_SPECIAL;
/// Number of tokens.
pub const VOCABULARY: u32 = FIRST_SPECIAL + SPECIAL.len() as u32;

/// Id of the first special token; those before are pieces.
const FIRST_SPECIAL: u32 = 151_643;

/// Special tokens, in the order of their ids.
const SPECIAL: [&str; 26] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
];

/// The ids of both pieces of each merge, by rank.
const MERGES: &[u8] = include_bytes!("../vocabulary/qwen3_merges.gz");

/// The tokenizer of Qwen3, which Z-Image, Flux.2 klein and others use.
#[derive(Debug)]
pub struct Qwen3Tokenizer {
    bpe: Bpe,
}

impl Qwen3Tokenizer {
    /// The tokenizer with its vocabulary, which is built in and unpacked when it is first used.
    ///
    /// ```
    /// use latent_diffusion::tokenizer::qwen3::Qwen3Tokenizer;
    /// let tokens = Qwen3Tokenizer::built_in().encode("a red fox<|im_end|>");
    /// assert_eq!(tokens.iter().map(|token| token.id).collect::<Vec<_>>(), [64, 2518, 38835, 151645]);
    /// assert_eq!(tokens[1].bytes, 1..5);
    /// ```
    #[must_use]
    pub fn built_in() -> &'static Qwen3Tokenizer {
        static QWEN3: OnceLock<Qwen3Tokenizer> = OnceLock::new();
        QWEN3.get_or_init(|| Qwen3Tokenizer { bpe: Bpe::of_pairs(unpack_numbers(MERGES)) })
    }

    /// The tokens of a text. It takes time and memory in proportion to the text.
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
            let mapped = MappedText::nfc(text, part);
            let mut start = 0;
            for word in words::split(mapped.text()) {
                for (id, piece) in self.bpe.pieces(word.as_bytes()) {
                    let bytes = mapped.source(start + piece.start..start + piece.end);
                    tokens.push(Token { id, bytes });
                }
                start += word.len();
            }
        }
        tokens
    }

    /// The ids of a text, truncated if they are more than `length`, and padded.
    #[must_use]
    pub fn encode_padded(&self, text: &str, length: usize) -> PaddedTokens {
        let ids = self.encode(text).into_iter().take(length).map(|token| token.id).collect();
        PaddedTokens::new(ids, length, PADDING)
    }
}

/// The special token that a text begins with: its length and id.
fn special(text: &str) -> Option<(usize, u32)> {
    let (written, id) =
        SPECIAL.iter().zip(FIRST_SPECIAL..).find(|(written, _)| text.starts_with(**written))?;
    Some((written.len(), id))
}
