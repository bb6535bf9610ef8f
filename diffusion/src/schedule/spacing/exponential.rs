//! Even steps in log sigma: each step takes the same part of the noise away.

use super::ramp;
use crate::schedule::NoiseModel;

/// Evenly in log sigma.
pub(in crate::schedule) fn exponential(noise: &NoiseModel, steps: usize, _: Option<f64>) -> Vec<f64> {
    let (min, max) = noise.sigma_range();
    ramp(max.ln(), min.ln(), steps).map(f64::exp).collect()
}
