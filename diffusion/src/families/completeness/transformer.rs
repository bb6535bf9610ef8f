//! Whether a file contains every tensor of a diffusion transformer, or of a large text encoder.

use super::{Component, check_component};
use crate::Error;
use crate::families::{registry, text_encoders};
use crate::params::Params;
use crate::text::{LanguageEncoder, LanguageModelRole, LayerLoading};
use crate::transformer::TransformerFile;
use latent_loader::Weights;

/// Checks that the large text encoders among weights of canonical names are complete.
///
/// # Errors
/// As [`TransformerFile::check_complete`].
pub(crate) fn check_language_models(weights: &Weights) -> Result<(), Error> {
    for family in [registry::FLUX, registry::Z_IMAGE] {
        let Some(language) = text_encoders::language(family.language_model, weights)? else { continue };
        let (component, label) = match language.role {
            LanguageModelRole::T5 { .. } => (Component::T5, "T5"),
            LanguageModelRole::Qwen3(_) => (Component::Qwen3, "Qwen3"),
        };
        let load =
            |params: &Params<'_>| LanguageEncoder::load(params, &language, LayerLoading::AllAtOnce).map(drop);
        // Layers after the last that is asked for.
        check_component(&weights.scope(language.role.scope()), (component, label), load, |_| true)?;
    }
    Ok(())
}

impl TransformerFile {
    /// Checks from the header alone that every tensor of the network is there, in its shape and in a dtype of weights.
    ///
    /// # Errors
    /// [`Error::Incomplete`] with all that is missing; [`Error::Unsupported`] for sizes of which no network can be built.
    pub fn check_complete(&self) -> Result<(), Error> {
        let load = |params: &Params<'_>| self.config().load(params).map(drop);
        check_component(self.weights(), (Component::Transformer, self.config().name()), load, |_| false)
    }
}
