//! k-diffusion's own: even steps in time, both ends included.

use super::ramp;
use crate::schedule::Training;

/// Evenly in time steps, from the last to the first.
pub(in crate::schedule) fn normal(training: &Training, steps: usize) -> Vec<f64> {
    ramp(training.last_timestep(), 0.0, steps).map(|t| training.log_linear_sigma_at(t)).collect()
}
