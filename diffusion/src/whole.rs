//! Whether a model is whole: its layers are built once from tensors of zeros, and what they ask for is looked up in the
//! file. So there is no list of tensors beside the layers themselves, and nothing of the file is read.

use crate::Error;
use crate::checklist::{Asked, Checklist, Misshaped};
use crate::families::Model;
use crate::params::Params;
use crate::text::PartEncoder;
use crate::unet::UNet;
use crate::vae::VaeDecoder;
use latent_loader::{Plain, Quoted, Weights};
use std::fmt::{self, Display};

/// Names of tensors that a message lists for each part.
const SHOWN: usize = 5;

/// A model that is not whole. Printed, it is one line with the first tensors of each part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingTensors {
    /// The file.
    pub file: String,
    /// The family that it seems to be of.
    pub family: &'static str,
    /// The parts that lack something.
    pub parts: Vec<MissingPart>,
}

/// What a part of a model lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPart {
    /// "text encoder", "UNet" or "VAE".
    pub component: &'static str,
    /// Number of tensors that its layers take.
    pub asked: usize,
    /// Canonical names of those that are not in the file.
    pub missing: Vec<String>,
    /// Those of another shape.
    pub misshaped: Vec<Misshaped>,
    /// Tensors of the part that no layer takes. They are a gap where they lie behind a missing block, which was taken
    /// for the last one.
    pub extra: Vec<String>,
}

impl Model {
    /// Checks from the header alone that every tensor which drawing needs is there, in its shape and as floating-point
    /// numbers.
    ///
    /// # Errors
    /// [`Error::Incomplete`] with all that is missing; [`Error::Unsupported`] for sizes that make no model.
    pub fn check_whole(&self) -> Result<(), Error> {
        let of = |scope| self.weights.scope(scope);
        let mut parts = Vec::new();
        for part in &self.text {
            // The last layer may be there and unused.
            let last = format!("{}.text_model.encoder.layers.{}.", part.scope, part.config.layers);
            let load = |params: &Params<'_>| PartEncoder::load(params, part).map(drop);
            parts.push(gaps(&of(part.scope), "text encoder", load, |name| name.starts_with(&last))?);
        }
        let load = |params: &Params<'_>| UNet::load(params, &self.unet).map(drop);
        parts.push(gaps(&of("unet"), "UNet", load, |_| false)?);
        // The VAE's other half encodes, which drawing from words does not need.
        let load = |params: &Params<'_>| VaeDecoder::load(params, &self.vae).map(drop);
        parts.push(gaps(&of("vae"), "VAE", load, |name| !name.starts_with("vae.decoder."))?);
        parts.retain(|part| !part.is_empty());
        if parts.is_empty() {
            return Ok(());
        }
        let (file, family) = (self.weights.label().to_owned(), self.family.label);
        Err(Error::Incomplete(Box::new(MissingTensors { file, family, parts })))
    }
}

/// Checks a file of one part as [`Model::check_whole`] checks a model.
pub(crate) fn check_part(
    weights: &Weights,
    (component, family): (&'static str, &'static str),
    load: impl FnOnce(&Params<'_>) -> Result<(), Error>,
    is_spare: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let gaps = gaps(weights, component, load, is_spare)?;
    if gaps.is_empty() {
        return Ok(());
    }
    Err(Error::Incomplete(Box::new(MissingTensors {
        file: weights.label().to_owned(),
        family,
        parts: vec![gaps],
    })))
}

/// What a part lacks. Tensors that no layer takes may be there if they are spare.
fn gaps(
    weights: &Weights,
    component: &'static str,
    load: impl FnOnce(&Params<'_>) -> Result<(), Error>,
    is_spare: impl Fn(&str) -> bool,
) -> Result<MissingPart, Error> {
    let list = Checklist::of(weights.clone());
    let built = load(&Params::listed(&list, &|_| ()));
    let Asked { found, missing, misshaped, .. } = std::mem::take(&mut *list.asked());
    // A gap is told before what may follow from it.
    if let (Err(error), true) = (built, missing.is_empty() && misshaped.is_empty()) {
        return Err(match error {
            Error::Tensor(error) => Error::Unsupported {
                file: weights.label().to_owned(),
                reason: format!("its {component} cannot be built: {error}"),
            },
            error => error,
        });
    }
    let extra = |name: &String| !found.contains(name) && !is_spare(name);
    Ok(MissingPart {
        component,
        asked: found.len() + missing.len(),
        extra: weights.names().map(|name| weights.canonical(name)).filter(extra).collect(),
        missing: missing.into_iter().collect(),
        misshaped,
    })
}

impl Display for MissingTensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: seems to be a {} model and is not whole", Plain(&self.file), self.family)?;
        for part in &self.parts {
            write!(f, "; {part}")?;
        }
        f.write_str("; the file is damaged or of another kind of model, get it again from its source")
    }
}

impl MissingPart {
    /// Whether nothing is lacking.
    fn is_empty(&self) -> bool {
        let in_block = |name: &String| {
            name.ends_with(".weight")
                && [".layers.", "down_blocks.", "up_blocks."].iter().any(|b| name.contains(b))
        };
        self.missing.is_empty() && self.misshaped.is_empty() && !self.extra.iter().any(in_block)
    }
}

impl Display for MissingPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |names: &[String]| list(names.iter().map(|name| Quoted(name)), names.len());
        let mut gaps = Vec::new();
        if !self.missing.is_empty() {
            let (missing, asked) = (self.missing.len(), self.asked);
            gaps.push(format!("{missing} of {asked} tensors missing{}", quoted(&self.missing)));
        }
        if !self.misshaped.is_empty() {
            let misshaped = self.misshaped.len();
            gaps.push(format!("{misshaped} of another shape{}", list(self.misshaped.iter(), misshaped)));
        }
        if !self.extra.is_empty() {
            gaps.push(format!("{} that no layer takes{}", self.extra.len(), quoted(&self.extra)));
        }
        write!(f, "{}: {}", self.component, gaps.join(", "))
    }
}

impl Display for Misshaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {:?} for {:?}", Quoted(&self.name), self.found, self.expected)
    }
}

/// The first of some things, in brackets.
fn list(items: impl Iterator<Item: Display>, count: usize) -> String {
    let shown: Vec<_> = items.take(SHOWN).map(|item| item.to_string()).collect();
    let more = if count > SHOWN { format!(" and {} more", count - SHOWN) } else { String::new() };
    format!(" ({}{more})", shown.join(", "))
}
