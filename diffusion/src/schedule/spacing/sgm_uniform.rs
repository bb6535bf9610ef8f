//! The spacing of Stability AI's generative models (the "SGM" repository), which distilled models were made with:
//! as normal with one step more, whose last level is left out.

use super::ramp;
use crate::schedule::NoiseModel;

/// Evenly in time steps, from the last down to one interval above the first.
pub(in crate::schedule) fn sgm_uniform(noise: &NoiseModel, steps: usize) -> Vec<f64> {
    ramp(noise.last_index(), noise.first_index(), steps + 1)
        .take(steps)
        .map(|t| noise.sigma_at_index(t))
        .collect()
}
