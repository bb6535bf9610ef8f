//! k-diffusion's `get_sigmas_polyexponential`: the exponential spacing with a bend.

use super::ramp;
use crate::schedule::NoiseModel;

/// No bend, as in k-diffusion: what is left is the exponential spacing.
const RHO: f64 = 1.0;

/// Log sigma is a power of evenly spaced numbers.
pub(in crate::schedule) fn polyexponential(noise: &NoiseModel, steps: usize, rho: Option<f64>) -> Vec<f64> {
    let rho = rho.unwrap_or(RHO);
    let (min, max) = noise.sigma_range();
    ramp(1.0, 0.0, steps).map(|part| (min.ln() + (max.ln() - min.ln()) * part.powf(rho)).exp()).collect()
}
