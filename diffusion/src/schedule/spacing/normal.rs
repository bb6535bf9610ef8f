//! k-diffusion's own: even steps in time, both ends included.

use super::ramp;
use crate::schedule::NoiseModel;

/// Evenly in time steps, from the last to the first.
pub(in crate::schedule) fn normal(noise: &NoiseModel, steps: usize) -> Vec<f64> {
    ramp(noise.last_index(), noise.first_index(), steps).map(|t| noise.sigma_at_index(t)).collect()
}
