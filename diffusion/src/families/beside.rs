//! What a checkpoint holds beside the weights of its parts.

use super::contents::Contents;
use super::places::{Part, is_surplus};
use latent_loader::{Checkpoint, TensorInfo};

/// Tensors without a canonical name, by what they are.
#[derive(Default)]
pub(crate) struct Beside {
    /// Tables and marks of the noise schedule.
    pub(crate) schedule: Vec<TensorInfo>,
    /// Counts of positions and such, which text encoders are saved with.
    pub(crate) surplus: Vec<TensorInfo>,
    /// A second copy of weights that trainers keep.
    pub(crate) ema: Vec<TensorInfo>,
    /// All else: the state of an optimizer, copies of the same tensor, parts of other models.
    pub(crate) others: Vec<TensorInfo>,
}

impl Beside {
    pub(crate) fn of(checkpoint: &Checkpoint) -> Beside {
        let mut beside = Beside::default();
        for (part, tensor) in Contents::of(checkpoint).others {
            let group = match part {
                Part::Schedule => &mut beside.schedule,
                Part::Ema => &mut beside.ema,
                Part::Text(_) if is_surplus(&tensor.name) => &mut beside.surplus,
                _ => &mut beside.others,
            };
            group.push(tensor.clone());
        }
        beside
    }
}
