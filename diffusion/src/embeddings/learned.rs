//! The learned embeddings of a model.

use super::names::LearnedNames;
use super::{TextualInversion, wrong};
use crate::Error;
use crate::text::TextPart;
use crate::tokenizer::VOCABULARY;
use std::ops::Range;
use std::sync::Arc;

/// Learned embeddings of a model: their names, and their vectors for each text encoder.
#[derive(Clone, Debug, Default)]
pub struct LearnedEmbeddings {
    names: LearnedNames,
    /// The ids of each embedding, from [`VOCABULARY`] on.
    ids: Vec<Range<u32>>,
    /// For each text encoder the vectors of all ids.
    tables: Vec<Vec<f32>>,
}

impl LearnedEmbeddings {
    /// Reads the vectors of files for the text encoders of a model. `label` is what messages call the model.
    ///
    /// # Errors
    /// [`Error::Embedding`]: a file for text encoders of other widths, two of one name, values that are not finite.
    pub fn new(
        files: &[Arc<TextualInversion>],
        parts: &[TextPart],
        label: &str,
    ) -> Result<LearnedEmbeddings, Error> {
        let widths: Vec<usize> = parts.iter().map(|part| part.config.width).collect();
        let mut learned =
            LearnedEmbeddings { tables: vec![Vec::new(); parts.len()], ..LearnedEmbeddings::default() };
        let mut next = VOCABULARY;
        for (index, file) in files.iter().enumerate() {
            for name in file.names() {
                if !learned.names.add(name, index) {
                    let reason = format!("another textual inversion is named {name} too");
                    return Err(wrong(&file.checkpoint, reason));
                }
            }
            if file.tables.len() != parts.len() {
                return Err(file.other_family(label, &widths));
            }
            for (table, width) in learned.tables.iter_mut().zip(&widths) {
                table.extend(file.read(*width)?.ok_or_else(|| file.other_family(label, &widths))?);
            }
            let ids = next..next + file.vectors() as u32;
            next = ids.end;
            learned.ids.push(ids);
        }
        Ok(learned)
    }

    /// The longest name that tokens begin with: its length in tokens, and the ids that replace it.
    #[must_use]
    pub fn first(&self, ids: &[u32]) -> Option<(usize, Range<u32>)> {
        let (len, index) = self.names.first(ids)?;
        Some((len, self.ids[index].clone()))
    }

    /// The vectors of all ids for the text encoder `part`, one after the other.
    #[must_use]
    pub fn table(&self, part: usize) -> &[f32] {
        self.tables.get(part).map_or(&[], Vec::as_slice)
    }
}
