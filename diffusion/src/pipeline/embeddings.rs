//! Learned words of a pipeline.

use super::Pipeline;
use crate::Error;
use crate::embeddings::{LearnedEmbeddings, TextualInversion};
use std::sync::Arc;

impl Pipeline {
    /// Understands these learned words in prompts from now on, and no others. The text encoders are dropped.
    ///
    /// # Errors
    /// [`Error::Embedding`]: one that is for another kind of model. Then nothing has changed.
    pub fn set_embeddings(&mut self, embeddings: &[Arc<TextualInversion>]) -> Result<(), Error> {
        self.words = LearnedEmbeddings::new(embeddings, &self.model.text, self.model.family.label)?;
        self.unload_text_encoder();
        Ok(())
    }
}
