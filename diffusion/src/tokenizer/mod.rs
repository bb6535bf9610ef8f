//! Tokenizers: CLIP's, and those of T5 ([`t5`]) and Qwen3 ([`qwen3`]).
//!
//! CLIP's gives ids of a vocabulary of 49,408 pieces of words. The ids are those of transformers' `CLIPTokenizer`: the text is normalised (Unicode NFC), runs of white space become one
//! space, letters lower-case; it is split into words (`words.rs`), and the bytes of each word are merged by byte-pair
//! encoding (`bpe.rs`; Sennrich et al. 2016).

mod bpe;
mod files;
mod mapped;
pub mod qwen3;
pub mod t5;
#[cfg(test)]
mod tests;
mod token;
mod unpack;
mod words;

pub use token::{PaddedTokens, Token};

use bpe::Bpe;
use std::sync::OnceLock;

/// Number of tokens. Ids from here on are those of learned embeddings.
pub const VOCABULARY: u32 = 49408;
/// The token in front of a text.
pub const START: u32 = 49406;
/// The token after a text, which OpenAI's CLIP also uses as padding.
pub const END: u32 = 49407;
/// Positions of CLIP's text encoder (`model_max_length`), [`START`] and [`END`] included.
pub const CONTEXT: usize = 77;

/// The spelling of the special tokens. Unlike everything else they are recognised before the text is made lower-case: in
/// capitals they are ordinary characters.
const SPECIAL: [(&str, u32); 2] = [("<|startoftext|>", START), ("<|endoftext|>", END)];

/// The pairs of pieces that are merged, the first to be merged first.
const MERGES: &str = include_str!("merges.txt");

/// CLIP's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    bpe: Bpe,
}

impl Tokenizer {
    /// The tokenizer of OpenAI's CLIP, which all versions of Stable Diffusion share; its vocabulary is built in.
    #[must_use]
    pub fn clip() -> &'static Tokenizer {
        static CLIP: OnceLock<Tokenizer> = OnceLock::new();
        CLIP.get_or_init(|| Tokenizer { bpe: Bpe::new(MERGES) })
    }

    /// The ids of a text of any length, without [`START`] and [`END`].
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = text;
        while let Some((at, written, id)) = first_special(rest) {
            self.encode_ordinary(&rest[..at], &mut ids);
            ids.push(id);
            rest = &rest[at + written.len()..];
        }
        self.encode_ordinary(rest, &mut ids);
        ids
    }

    fn encode_ordinary(&self, text: &str, ids: &mut Vec<u32>) {
        let text = words::normalize(text);
        for word in words::split(&text) {
            self.bpe.encode(word.as_bytes(), ids);
        }
    }

    /// The ids of a text between [`START`] and [`END`], truncated if it is too long and padded with `padding`.
    #[must_use]
    pub fn encode_padded(&self, text: &str, padding: u32) -> [u32; CONTEXT] {
        let mut ids = self.encode(text);
        ids.truncate(CONTEXT - 2);
        let mut all = [padding; CONTEXT];
        all[0] = START;
        all[1..=ids.len()].copy_from_slice(&ids);
        all[ids.len() + 1] = END;
        all
    }

    /// The text of some ids, words joined by spaces; ids outside the vocabulary are skipped.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for id in ids {
            match SPECIAL.iter().find(|(_, special)| special == id) {
                Some((written, _)) => {
                    bytes.extend_from_slice(written.as_bytes());
                    bytes.push(b' ');
                }
                None => self.bpe.decode(*id, &mut bytes),
            }
        }
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }
}

/// The first special token in a text: its position, its spelling, its id.
fn first_special(text: &str) -> Option<(usize, &'static str, u32)> {
    // Looking for each of them to the end of the text would take the square of its length.
    text.match_indices("<|").find_map(|(at, _)| {
        let found = SPECIAL.iter().find(|(written, _)| text[at..].starts_with(written));
        found.map(|(written, id)| (at, *written, *id))
    })
}
