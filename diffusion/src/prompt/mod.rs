//! The webui's prompt language: emphasis, and prompts longer than the text encoder.
//!
//! `(text)` multiplies the weight of a text by 1.1, `[text]` divides it, `(text:1.3)` sets a factor; a backslash makes
//! a bracket ordinary; `BREAK` begins a new chunk of 75 tokens.

mod parse;
#[cfg(test)]
mod tests;

pub use parse::{Segment, parse};

use crate::tokenizer::{CONTEXT, END, START, Tokenizer};

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

/// Cuts segments into chunks of 75 tokens, at least one. A break ends a chunk where it stands.
#[must_use]
pub fn chunks(segments: &[Segment], tokenizer: &Tokenizer, padding: u32) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut tokens = Vec::with_capacity(ROOM);
    for segment in segments {
        match segment {
            Segment::Break => {
                chunks.push(Chunk::new(&tokens, padding));
                tokens.clear();
            }
            Segment::Text { text, weight } => {
                for id in tokenizer.encode(text) {
                    if tokens.len() == ROOM {
                        chunks.push(Chunk::new(&tokens, padding));
                        tokens.clear();
                    }
                    tokens.push((id, *weight as f32));
                }
            }
        }
    }
    if !tokens.is_empty() || chunks.is_empty() {
        chunks.push(Chunk::new(&tokens, padding));
    }
    chunks
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
