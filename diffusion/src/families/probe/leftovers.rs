//! What a checkpoint contains besides the weights of its parts.

use super::index::TensorIndex;
use crate::tensor_names::prefixes::{TensorPart, is_byproduct};
use latent_loader::TensorInfo;

/// Tensors without a canonical name, by what they are.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// Tables and markers of the noise schedule.
    pub(crate) schedule: Vec<TensorInfo>,
    /// Position ids and such, which other programs save with text encoders.
    pub(crate) byproducts: Vec<TensorInfo>,
    /// The averaged copy of the weights that trainers keep.
    pub(crate) ema: Vec<TensorInfo>,
    /// All else: the state of an optimizer, copies of the same tensor, parts of other models.
    pub(crate) others: Vec<TensorInfo>,
}

impl Leftovers {
    pub(super) fn of(index: &TensorIndex) -> Leftovers {
        let mut leftovers = Leftovers::default();
        for (part, tensor) in index.unplaced() {
            let group = match part {
                TensorPart::Schedule => &mut leftovers.schedule,
                TensorPart::Ema => &mut leftovers.ema,
                TensorPart::Text(_) if is_byproduct(&tensor.name) => &mut leftovers.byproducts,
                _ => &mut leftovers.others,
            };
            group.push(tensor.clone());
        }
        leftovers
    }
}
