//! How tokens are written.

use super::TokenReport;
use latent_diffusion::embeddings::TextualInversion;
use latent_diffusion::prompt::Chunk;
use latent_diffusion::tokenizer::{END, Tokenizer, VOCABULARY};
use std::sync::Arc;

/// The texts of all tokens.
pub(super) struct TokenNames {
    vocabulary: Vec<String>,
    /// A name for each vector of a textual inversion, whose ids follow the vocabulary's.
    learned: Vec<String>,
}

impl TokenNames {
    pub(super) fn new(embeddings: &[Arc<TextualInversion>]) -> TokenNames {
        let names = |file: &Arc<TextualInversion>| {
            let name = file.names().first().cloned().unwrap_or_default();
            (1..=file.vectors()).map(move |vector| format!("{name:?} vector {vector}"))
        };
        let learned = embeddings.iter().flat_map(names).collect();
        TokenNames { vocabulary: Tokenizer::vocabulary(), learned }
    }

    /// The tokens of a chunk without start, end and padding.
    pub(super) fn tokens(&self, chunk: &Chunk, padding: u32) -> Vec<TokenReport> {
        let is_last = |id: &u32| *id != padding;
        let end = chunk.ids.iter().rposition(is_last).unwrap_or(0);
        // Where the end token is the padding, the last other one belongs to the prompt.
        let end = if padding == END { end + 1 } else { end };
        let tokens = chunk.ids.iter().zip(&chunk.weights).take(end).skip(1);
        tokens.map(|(id, weight)| TokenReport { id: *id, piece: self.name(*id), weight: *weight }).collect()
    }

    fn name(&self, id: u32) -> String {
        let learned = id.checked_sub(VOCABULARY).and_then(|place| self.learned.get(place as usize));
        learned.or(self.vocabulary.get(id as usize)).cloned().unwrap_or_default()
    }
}
