//! Where a walk is: what its steps tell those who look on, and those who take part.

use std::cell::{Cell, RefCell};

/// The present of a walk down the schedule.
#[derive(Default)]
pub(super) struct Now {
    /// Steps done.
    pub(super) step: Cell<usize>,
    /// The clean latents as they were last predicted; empty before the first time.
    pub(super) denoised: RefCell<Vec<f32>>,
}
