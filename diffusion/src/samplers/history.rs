//! Values of earlier steps that multistep samplers keep, newest first.

use latent_tensor::Tensor;
use std::collections::VecDeque;

/// The values at the last few levels.
pub(super) struct History {
    entries: VecDeque<(f64, Tensor)>,
    max: usize,
}

impl History {
    /// Keeps at most `max` levels.
    pub(super) fn new(max: usize) -> Self {
        Self { entries: VecDeque::new(), max }
    }

    /// Adds the values at a level; at the level of the newest entry they replace it, so that all levels differ.
    pub(super) fn push(&mut self, sigma: f64, values: Tensor) {
        if self.entries.front().is_some_and(|(newest, _)| *newest == sigma) {
            self.entries.pop_front();
        }
        self.entries.push_front((sigma, values));
        self.entries.truncate(self.max);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The values of `age` levels before, 0 for the newest.
    pub(super) fn values(&self, age: usize) -> &Tensor {
        &self.entries[age].1
    }

    pub(super) fn sigma(&self, age: usize) -> f64 {
        self.entries[age].0
    }

    /// The values with a weight for each, newest first.
    pub(super) fn weighted<'a>(&'a self, weights: &'a [f64]) -> Vec<(f64, &'a Tensor)> {
        weights.iter().zip(&self.entries).map(|(weight, (_, values))| (*weight, values)).collect()
    }
}

/// The order to use when `left` steps are left, this one included. With few steps in all, high orders at the end, where
/// levels fall fast, would overshoot (Lu et al. 2022, appendix D.1; `lower_order_final` of diffusers).
pub(super) fn order_at_end(order: usize, left: usize, total: usize) -> usize {
    const FEW_STEPS: usize = 15;
    if total < FEW_STEPS { order.min(left) } else { order }
}
