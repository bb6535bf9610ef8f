//! Where a walk is: what its steps tell those who look on, and those who take part.

use std::cell::{Cell, RefCell};

/// The present of a walk down the schedule.
#[derive(Default)]
pub(super) struct Now {
    /// Steps done.
    pub(super) step: Cell<usize>,
    /// All of them.
    pub(super) steps: usize,
    /// The clean latents as they were last predicted; empty before the first time.
    pub(super) denoised: RefCell<Vec<f32>>,
}

impl Now {
    /// The part of the steps, from 0 to 1, that is done.
    pub(super) fn part(&self) -> f64 {
        self.step.get() as f64 / self.steps.max(1) as f64
    }
}
