//! The webui's prompt language: emphasis, and prompts longer than the text encoder.
//!
//! `(text)` multiplies the weight of a text by 1.1, `[text]` divides it, `(text:1.3)` sets a factor; a backslash makes
//! a bracket ordinary; `BREAK` begins a new chunk of 75 tokens.
//!
//! Above these stand the parts of the language that make several texts of one prompt: `AND` ([`subprompts`]), then
//! `[from:to:when]` and `[a|b]` ([`PromptSchedule`]). Before all of them, [`Wildcards`] make a prompt of a template.

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

use crate::embeddings::LearnedEmbeddings;
use crate::tokenizer::{CONTEXT, END, START, Tokenizer};
use std::ops::Range;

/// Tokens of a prompt in a chunk: all places but the first and the last.
const ROOM: usize = CONTEXT - 2;

/// What the text encoder takes at once: 75 tokens of a prompt between start and end.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The tokens.
    pub ids: [u32; CONTEXT],
    /// A weight for each; 1 for those that are not of the prompt.
    pub weights: [f32; CONTEXT],
}

impl Chunk {
    /// A chunk without words, filled up with `padding`: [`END`] in CLIP, 0 in OpenCLIP.
    #[must_use]
    pub fn empty(padding: u32) -> Chunk {
        Chunk::new(&[], padding)
    }

    /// At most [`ROOM`] tokens with their weights.
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

/// As [`encode`], for a prompt with learned words.
#[must_use]
pub fn encode_with(prompt: &str, padding: u32, words: &LearnedEmbeddings) -> Vec<Chunk> {
    chunks_with(&parse(prompt), Tokenizer::clip(), padding, words)
}

/// Cuts segments into chunks of 75 tokens, at least one. A break ends a chunk where it stands.
#[must_use]
pub fn chunks(segments: &[Segment], tokenizer: &Tokenizer, padding: u32) -> Vec<Chunk> {
    chunks_with(segments, tokenizer, padding, &LearnedEmbeddings::default())
}

/// As [`chunks`], with learned words in place of their names. A word is not cut by the end of a chunk if it fits in one.
#[must_use]
pub fn chunks_with(
    segments: &[Segment],
    tokenizer: &Tokenizer,
    padding: u32,
    words: &LearnedEmbeddings,
) -> Vec<Chunk> {
    let mut cutter = Cutter { chunks: Vec::new(), tokens: Vec::with_capacity(ROOM), padding };
    for segment in segments {
        match segment {
            Segment::Break => cutter.cut(),
            Segment::Text { text, weight } => {
                let ids = tokenizer.encode(text);
                let mut rest = &ids[..];
                while let [id, ..] = rest {
                    let (len, ids) = words.first(rest).unwrap_or((1, *id..id + 1));
                    cutter.push(ids, *weight as f32);
                    rest = &rest[len..];
                }
            }
        }
    }
    if !cutter.tokens.is_empty() || cutter.chunks.is_empty() {
        cutter.cut();
    }
    cutter.chunks
}

/// Gathers tokens and cuts them into chunks.
struct Cutter {
    chunks: Vec<Chunk>,
    tokens: Vec<(u32, f32)>,
    padding: u32,
}

impl Cutter {
    /// Appends tokens that stay together if a chunk has room for all.
    fn push(&mut self, ids: Range<u32>, weight: f32) {
        if ids.len() <= ROOM && self.tokens.len() + ids.len() > ROOM {
            self.cut();
        }
        for id in ids {
            if self.tokens.len() == ROOM {
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

/// Applies a chunk's weights to its states `[weights.len(), width]`: each token's state times its weight, then all times
/// what restores their mean (the webui's "original" emphasis). Weights that are all 1 change nothing.
///
/// # Panics
/// If the states are not as many rows as there are weights.
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
    // A mean that has become (nearly) nothing cannot be restored: the factor would blow everything up.
    let restore = (before / after) as f32;
    if restore.is_finite() {
        states.iter_mut().for_each(|v| *v *= restore);
    }
}
