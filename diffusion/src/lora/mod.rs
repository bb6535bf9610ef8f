//! LoRA (Hu et al. 2021, <https://arxiv.org/abs/2106.09685>) and its relatives: small files that change a model's layers.
//!
//! A [`Lora`] holds factors of what is added to weights: `W + weight * alpha / rank * up * down`. [`Merge`] says which
//! factors belong to which weight of a model; the sum is made in `f32` whenever a weight is read, so that the model's
//! file stays as it is. LoCon (convolutions), LoHa and LoKr (<https://arxiv.org/abs/2309.14859>) are other products; full
//! differences, also of norms and biases, are not products. DoRA (<https://arxiv.org/abs/2402.09353>) gives the sum's
//! vectors lengths of their own. OFT and BOFT rotate a weight's outputs; GLoRA adds `W A + B`.
//!
//! A file may bundle textual inversions ([`Lora::bundled`]), whose words are understood while the LoRA is used.

mod alphas;
mod change;
mod factor_matrix;
mod factors;
mod glora;
mod merge;
mod names;
mod refusal;
mod roles;
mod rotation;
mod strength;
mod summary;
mod tags;
mod transformer_layers;

pub(crate) use factor_matrix::{MAX_RANK, product};
pub use merge::{Applied, Merge};
pub use strength::Strength;
pub use summary::Summary;
pub use tags::{Tag, other_tags, take_tags, update_tags};

use crate::embeddings::{BUNDLED, TextualInversion};
use crate::families::{Distillation, ModelKind};
use crate::tensor_names::lora_layers::{self, LoraNetwork};
use crate::{Error, families};
use alphas::DeclaredAlphas;
use change::WeightChange;
use latent_loader::Checkpoint;
use roles::FactorRole;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An opened LoRA file: what its header contains, checked. Its values are read when they are added.
#[derive(Debug)]
pub struct Lora {
    checkpoint: Arc<Checkpoint>,
    /// Sorted by name.
    modules: Vec<LoraModule>,
    /// Names of tensors of no known kind.
    others: Vec<String>,
    /// Textual inversions that are in the file too.
    bundled: Vec<Arc<TextualInversion>>,
}

/// What becomes of one weight or bias.
#[derive(Debug)]
struct LoraModule {
    /// Its name in the file.
    name: String,
    is_bias: bool,
    change: WeightChange,
}

impl Lora {
    /// Reads names, shapes and alphas, and checks that they fit together.
    ///
    /// # Errors
    /// [`Error::Lora`]: a file that is not a LoRA, lacks a factor, or whose factors cannot be multiplied.
    pub fn open(checkpoint: Checkpoint) -> Result<Lora, Error> {
        let checkpoint = Arc::new(checkpoint);
        if let Some(reason) = refusal::of(&checkpoint) {
            return Err(wrong(&checkpoint, reason));
        }
        let mut found: BTreeMap<&str, BTreeMap<FactorRole, &str>> = BTreeMap::new();
        let mut others = Vec::new();
        for tensor in checkpoint.tensors().filter(|tensor| !tensor.name.starts_with(BUNDLED)) {
            match roles::split(&checkpoint, &tensor.name) {
                Some((module, role)) => {
                    if let Some(twice) = found.entry(module).or_default().insert(role, &tensor.name) {
                        let reason = format!("{twice:?} and {:?} are the same factor", tensor.name);
                        return Err(wrong(&checkpoint, reason));
                    }
                }
                None => others.push(tensor.name.clone()),
            }
        }
        let has_alphas = found.values().any(|roles| roles.contains_key(&FactorRole::Alpha));
        let declared = DeclaredAlphas::of(&checkpoint, has_alphas);
        let declared = declared.map_err(|reason| wrong(&checkpoint, reason))?;
        let mut modules = Vec::with_capacity(found.len());
        for (name, roles) in &found {
            let all = WeightChange::all(&checkpoint, name, roles, &declared);
            let (weight, bias) = all.map_err(|reason| change::explain(&checkpoint, name, &reason))?;
            for (change, is_bias) in [(weight, false), (bias, true)] {
                modules.extend(change.map(|change| LoraModule { name: (*name).to_owned(), is_bias, change }));
            }
        }
        if modules.is_empty() {
            let (file, reason) = (checkpoint.label().to_owned(), explain(&checkpoint));
            return Err(Error::Lora { file, reason });
        }
        let bundled = TextualInversion::bundled(&checkpoint)?.into_iter().map(Arc::new).collect();
        Ok(Lora { checkpoint, modules, others, bundled })
    }

    /// What it makes of a model if it is one for few steps, and for how many, by the name of its file or by that in its metadata.
    #[must_use]
    pub fn distillation(&self) -> Option<(Distillation, Option<usize>)> {
        Distillation::of_lora(&self.checkpoint)
    }

    /// The textual inversions in the file, which belong to it.
    #[must_use]
    pub fn bundled(&self) -> &[Arc<TextualInversion>] {
        &self.bundled
    }

    /// What error messages call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.checkpoint.label()
    }

    /// Number of weights that it changes in a model that has all of them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// Never: such a file is an error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    /// The kind of model that it seems to be for, by its layers and by the width of the text that its cross-attentions read.
    #[must_use]
    pub fn family_label(&self) -> Option<&'static str> {
        let is_key = |name: &str| name.ends_with("attn2_to_k") || name.ends_with("attn2.to_k");
        let layers: Vec<_> =
            self.modules.iter().map(|module| (module.name.as_str(), module.change.dims()[1])).collect();
        if let Some(family) = families::of_transformer_lora(&layers) {
            return Some(family.label);
        }
        let width = self.modules.iter().find(|m| is_key(&m.name)).and_then(|m| m.change.dims()[1]);
        match width {
            Some(width) => families::of_context_width(width).map(|family| family.label),
            None if self.modules.iter().any(|m| m.name.starts_with("lora_te2_")) => {
                Some(families::SDXL.label)
            }
            None => None,
        }
    }

    /// The network that its layers are of, as far as their names show it.
    fn network(&self) -> Option<LoraNetwork> {
        lora_layers::network(self.modules.iter().map(|module| module.name.as_str()))
    }
}

/// What a file without LoRA factors is.
fn explain(checkpoint: &Arc<Checkpoint>) -> String {
    let probe = families::Probe::of(checkpoint);
    match probe.identity().kind {
        ModelKind::Lora | ModelKind::Unknown => {
            probe.unknown("is not a LoRA: no tensor has a name of one, such as lora_down")
        }
        kind => kind.instead_of("a LoRA"),
    }
}

fn wrong(checkpoint: &Checkpoint, reason: String) -> Error {
    Error::Lora { file: checkpoint.label().to_owned(), reason }
}
