//! Which step a sampling run is in, for all that takes part in it.

use crate::network::StepPosition;
use latent_tensor::Tensor;
use std::cell::{Cell, RefCell};

/// The step counter of a sampling run.
#[derive(Debug, Default)]
pub(super) struct StepState {
    /// Steps done.
    pub(super) step: Cell<usize>,
    /// Steps in all.
    pub(super) steps: usize,
    /// The clean latents as they were last predicted.
    pub(super) denoised: RefCell<Option<Tensor>>,
}

impl StepState {
    /// The fraction of the steps, from 0 to 1, that is done.
    pub(super) fn fraction(&self) -> f64 {
        self.step.get() as f64 / self.steps.max(1) as f64
    }

    pub(super) fn position(&self) -> StepPosition {
        StepPosition { step: self.step.get(), steps: self.steps }
    }
}
