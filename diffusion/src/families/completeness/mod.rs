//! Whether a checkpoint contains every tensor that its layers need, in its shape.
//!
//! A component's layers are built once from tensors of zeros ([`Checklist`]), and what they ask for is looked up in the file.
//! So there is no list of tensors besides the layers themselves, and nothing of the file is read.
//!
//! Opening a model compares it with layers of the sizes that its own shapes show, and needs no encoder of the VAE. Inspecting
//! one ([`ComponentCheck::all`]) compares every component with the published model of its sizes, so that a missing layer at
//! the end is noticed too.

mod inspect;
pub(crate) mod missing;
mod transformer;

pub(crate) use transformer::check_language_models;

use super::component::Component;
use super::model::Model;
use crate::Error;
use crate::params::{Checklist, Params, RequestedTensors};
use crate::text::{LanguageEncoder, LanguageModelRole, LayerLoading, PartEncoder};
use crate::vae::VaeDecoder;
use latent_loader::{LoadError, Weights};
use missing::{ComponentCheck, MissingTensors};

impl Model {
    /// Checks from the header alone that every tensor which drawing needs is there, in its shape and in a floating-point
    /// dtype.
    ///
    /// # Errors
    /// [`Error::Incomplete`] with all that is missing; [`Error::Unsupported`] for sizes of which no model can be built.
    pub fn check_complete(&self) -> Result<(), Error> {
        let of = |scope| self.weights.scope(scope);
        let mut checks = Vec::new();
        for part in &self.text {
            // The last layer may be there and unused.
            let last = format!("{}.text_model.encoder.layers.{}.", part.scope, part.config.layers);
            let load = |params: &Params<'_>| PartEncoder::load(params, part).map(drop);
            let is_spare = |name: &str| name.starts_with(&last);
            checks.push(check(&of(part.scope), Component::TextEncoder, load, is_spare)?);
        }
        if let Some(language) = &self.language {
            let load = |params: &Params<'_>| {
                LanguageEncoder::load(params, language, LayerLoading::AllAtOnce).map(drop)
            };
            let component = match language.role {
                LanguageModelRole::T5 { .. } => Component::T5,
                LanguageModelRole::Qwen3(_) => Component::Qwen3,
            };
            // Layers past the last that is asked for, and what predicts the next token.
            checks.push(check(&of(language.role.scope()), component, load, |_| true)?);
        }
        let load = |params: &Params<'_>| self.network.load(params).map(drop);
        checks.push(check(&of(self.network.scope()), self.network.component(), load, |_| false)?);
        if self.has_tiny_vae {
            return incomplete(&self.weights, self.family.label, checks);
        }
        // The VAE's encoder is not needed for text to image.
        let load = |params: &Params<'_>| VaeDecoder::load(params, &self.vae).map(drop);
        let is_spare = |name: &str| !name.starts_with("vae.decoder.");
        checks.push(check(&of("vae"), Component::Vae, load, is_spare)?);
        incomplete(&self.weights, self.family.label, checks)
    }
}

/// Checks a file of one component as [`Model::check_complete`] checks a model. `family` is the kind of model that error
/// messages name; tensors that no layer reads are tolerated if they are spare.
pub(crate) fn check_component(
    weights: &Weights,
    (component, family): (Component, &'static str),
    load: impl FnOnce(&Params<'_>) -> Result<(), Error>,
    is_spare: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let check = check(weights, component, load, is_spare)?;
    incomplete(weights, family, vec![check])
}

/// The error for components that are not complete, if there are any.
fn incomplete(weights: &Weights, family: &'static str, mut checks: Vec<ComponentCheck>) -> Result<(), Error> {
    checks.retain(|check| !check.is_complete());
    if checks.is_empty() {
        return Ok(());
    }
    let file = weights.label().to_owned();
    Err(Error::Incomplete(Box::new(MissingTensors { file, family, components: checks })))
}

/// Compares a component with what its layers ask for. An error is of layers that cannot be built for another reason than
/// missing tensors.
fn check(
    weights: &Weights,
    component: Component,
    load: impl FnOnce(&Params<'_>) -> Result<(), Error>,
    is_spare: impl Fn(&str) -> bool,
) -> Result<ComponentCheck, Error> {
    let (check, built) = compare(weights, component, load, is_spare);
    match built {
        // Missing tensors are reported before what may follow from them.
        Err(error) if check.missing.is_empty() && check.misshaped.is_empty() => Err(match error {
            Error::Tensor(error) => Error::Unsupported {
                file: weights.label().to_owned(),
                reason: format!("its {component} cannot be built: {error}"),
            },
            error => error,
        }),
        _ => Ok(check),
    }
}

/// Builds the layers of a component from zeros and compares what they ask for with the tensors in the scope of `weights`.
fn compare(
    weights: &Weights,
    component: Component,
    load: impl FnOnce(&Params<'_>) -> Result<(), Error>,
    is_spare: impl Fn(&str) -> bool,
) -> (ComponentCheck, Result<(), Error>) {
    let list = Checklist::of(weights.clone());
    let built = match load(&Params::listed(&list, &|_| ())) {
        Err(Error::Load(LoadError::MissingTensor { tensor, .. })) => {
            list.requested().missing.insert(tensor);
            Ok(())
        }
        built => built,
    };
    let RequestedTensors { found, missing, misshaped, .. } = std::mem::take(&mut *list.requested());
    let mut unused = Vec::new();
    let mut has_unused_blocks = false;
    for name in weights.names() {
        let canonical = weights.canonical(name);
        if !found.contains(&canonical) && !is_spare(&canonical) {
            unused.extend(weights.info(name).map(|tensor| tensor.name.clone()));
            has_unused_blocks |= is_weight_of_block(&canonical);
        }
    }
    let check = ComponentCheck {
        component,
        required: found.len() + missing.len(),
        missing: missing.into_iter().collect(),
        misshaped,
        unused,
        has_unused_blocks,
    };
    (check, built)
}

/// Whether a tensor is a weight of one of many blocks in a row.
fn is_weight_of_block(name: &str) -> bool {
    const BLOCKS: [&str; 4] = [".layers.", "down_blocks.", "up_blocks.", "transformer_blocks."];
    name.ends_with(".weight") && BLOCKS.iter().any(|block| name.contains(block))
}
