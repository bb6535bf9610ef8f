//! Sabour, Fidler, Kreis, "Align your steps: optimizing sampling schedules in diffusion models", 2024, theorem 3.1:
//! where the data are normal, these levels keep the distance between the result's distribution and the data's
//! (Kullback-Leibler) the smallest.

use super::ramp;
use crate::schedule::NoiseModel;

/// Evenly in the arc tangent of sigma.
pub(in crate::schedule) fn kl_optimal(noise: &NoiseModel, steps: usize, _: Option<f64>) -> Vec<f64> {
    let (min, max) = noise.sigma_range();
    ramp(max.atan(), min.atan(), steps).map(f64::tan).collect()
}
