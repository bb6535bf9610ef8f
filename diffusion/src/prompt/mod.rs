//! The webui's prompt language: emphasis, and prompts longer than the text encoder.
//!
//! `(text)` multiplies the weight of a text by 1.1, `[text]` divides it, `(text:1.3)` sets a factor; a backslash escapes a
//! bracket; `BREAK` starts a new chunk of 75 tokens.
//!
//! One prompt can become several texts: first by `AND` ([`subprompts`]), then by `[from:to:when]` and `[a|b]`
//! ([`PromptSchedule`]). Before all of that, [`Wildcards`] turn a template into a prompt.

mod compose;
mod parse;
mod schedule;
#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod tests;
mod wildcards;
#[cfg(test)]
mod wildcards_tests;

pub use compose::{Subprompt, subprompts};
pub use parse::{Segment, parse};
pub use schedule::PromptSchedule;
pub use wildcards::Wildcards;

use crate::Error;
use crate::embeddings::LearnedEmbeddings;
use crate::setting::Setting;
use crate::tokenizer::{CONTEXT, END, START, Tokenizer};
use std::ops::Range;

/// Tokens of a prompt in a chunk: all positions but the first and the last.
const CHUNK_TOKENS: usize = CONTEXT - 2;

/// Maximum size in bytes of a prompt: some ten thousand words, where a long prompt has a few hundred.
pub const MAX_PROMPT_BYTES: usize = 64 << 10;

/// Maximum number of chunks of a prompt: 7500 tokens. Each is seen by every attention in every step.
pub const MAX_PROMPT_CHUNKS: usize = 100;

/// Refuses a prompt of more than [`MAX_PROMPT_BYTES`], before anything is done with it.
///
/// # Errors
/// [`Error::Setting`]: `setting`, the one that holds the prompt.
pub fn check_bytes(prompt: &str, setting: Setting) -> Result<(), Error> {
    match prompt.len() {
        0..=MAX_PROMPT_BYTES => Ok(()),
        bytes => {
            let (bytes, max) = (bytes >> 10, MAX_PROMPT_BYTES >> 10);
            Err(Error::setting(setting, format!("has {bytes} KiB of text; the maximum is {max} KiB")))
        }
    }
}

/// The input of one evaluation of the text encoder: 75 tokens of a prompt between start and end.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The tokens.
    pub ids: [u32; CONTEXT],
    /// A weight for each; 1 for start, end and padding.
    pub weights: [f32; CONTEXT],
}

impl Chunk {
    /// A chunk of an empty prompt. `padding` is [`END`] for OpenAI's CLIP, 0 for OpenCLIP.
    #[must_use]
    pub fn empty(padding: u32) -> Chunk {
        Chunk::new(&[], padding)
    }

    /// At most [`CHUNK_TOKENS`] tokens with their weights.
    fn new(tokens: &[(u32, f32)], padding: u32) -> Chunk {
        let mut chunk = Chunk { ids: [padding; CONTEXT], weights: [1.0; CONTEXT] };
        chunk.ids[0] = START;
        chunk.ids[tokens.len() + 1] = END;
        for (place, (id, weight)) in (1..).zip(tokens) {
            chunk.ids[place] = *id;
            chunk.weights[place] = *weight;
        }
        chunk
    }
}

/// The chunks of a prompt: [`parse`], then [`chunks`].
#[must_use]
pub fn encode(prompt: &str, padding: u32) -> Vec<Chunk> {
    chunks(&parse(prompt), Tokenizer::clip(), padding)
}

/// As [`encode`], with learned embeddings.
#[must_use]
pub fn encode_with(prompt: &str, padding: u32, words: &LearnedEmbeddings) -> Vec<Chunk> {
    chunks_with(&parse(prompt), Tokenizer::clip(), padding, words)
}

/// As [`encode_with`], for a prompt of at most [`MAX_PROMPT_CHUNKS`].
///
/// # Errors
/// [`Error::Setting`]: a longer one.
pub fn encode_bounded(prompt: &str, padding: u32, words: &LearnedEmbeddings) -> Result<Vec<Chunk>, Error> {
    let chunks = up_to(MAX_PROMPT_CHUNKS, &parse(prompt), Tokenizer::clip(), padding, words);
    if chunks.len() > MAX_PROMPT_CHUNKS {
        let reason = format!(
            "has more than {MAX_PROMPT_CHUNKS} chunks of {CHUNK_TOKENS} tokens; shorten it, or leave out some of its BREAKs"
        );
        return Err(Error::setting(Setting::Prompt, reason));
    }
    Ok(chunks)
}

/// Splits segments into chunks of 75 tokens, at least one. A break ends its chunk.
#[must_use]
pub fn chunks(segments: &[Segment], tokenizer: &Tokenizer, padding: u32) -> Vec<Chunk> {
    chunks_with(segments, tokenizer, padding, &LearnedEmbeddings::default())
}

/// As [`chunks`], with learned embeddings in place of their names. An embedding of several tokens is not split by the end of
/// a chunk if it fits into one.
#[must_use]
pub fn chunks_with(
    segments: &[Segment],
    tokenizer: &Tokenizer,
    padding: u32,
    words: &LearnedEmbeddings,
) -> Vec<Chunk> {
    up_to(usize::MAX, segments, tokenizer, padding, words)
}

/// As [`chunks_with`], until there are more than `limit`.
fn up_to(
    limit: usize,
    segments: &[Segment],
    tokenizer: &Tokenizer,
    padding: u32,
    words: &LearnedEmbeddings,
) -> Vec<Chunk> {
    let mut builder = ChunkBuilder { chunks: Vec::new(), tokens: Vec::with_capacity(CHUNK_TOKENS), padding };
    for segment in segments {
        if builder.chunks.len() > limit {
            break;
        }
        match segment {
            Segment::Break => builder.cut(),
            Segment::Text { text, weight } => {
                let ids = tokenizer.encode(text);
                let mut rest = &ids[..];
                while let [id, ..] = rest
                    && builder.chunks.len() <= limit
                {
                    let (len, ids) = words.first(rest).unwrap_or((1, *id..id + 1));
                    builder.push(ids, *weight as f32);
                    rest = &rest[len..];
                }
            }
        }
    }
    if !builder.tokens.is_empty() || builder.chunks.is_empty() {
        builder.cut();
    }
    builder.chunks
}

/// Collects tokens into chunks.
struct ChunkBuilder {
    chunks: Vec<Chunk>,
    tokens: Vec<(u32, f32)>,
    padding: u32,
}

impl ChunkBuilder {
    /// Appends tokens that stay together if they fit into one chunk.
    fn push(&mut self, ids: Range<u32>, weight: f32) {
        if ids.len() <= CHUNK_TOKENS && self.tokens.len() + ids.len() > CHUNK_TOKENS {
            self.cut();
        }
        for id in ids {
            if self.tokens.len() == CHUNK_TOKENS {
                self.cut();
            }
            self.tokens.push((id, weight));
        }
    }

    /// Ends a chunk.
    fn cut(&mut self) {
        self.chunks.push(Chunk::new(&self.tokens, self.padding));
        self.tokens.clear();
    }
}

/// Applies a chunk's weights to its hidden states `[weights.len(), width]`: multiplies those of each token by its weight, then
/// all of them by the factor that restores their mean (the webui's "original" emphasis). Weights that are all 1 change
/// nothing.
///
/// # Panics
/// If the number of values is not a multiple of the number of weights.
pub fn emphasize(states: &mut [f32], weights: &[f32]) {
    if weights.iter().all(|weight| *weight == 1.0) {
        return;
    }
    assert!(
        states.len().is_multiple_of(weights.len()),
        "{} states for {} weights",
        states.len(),
        weights.len()
    );
    let mean = |states: &[f32]| states.iter().map(|v| f64::from(*v)).sum::<f64>() / states.len() as f64;
    let before = mean(states);
    for (state, weight) in states.chunks_exact_mut(states.len() / weights.len()).zip(weights) {
        state.iter_mut().for_each(|v| *v *= weight);
    }
    let after = mean(states);
    // A mean of (nearly) zero cannot be restored: the factor would be infinite.
    let restore = (before / after) as f32;
    if restore.is_finite() {
        states.iter_mut().for_each(|v| *v *= restore);
    }
}
