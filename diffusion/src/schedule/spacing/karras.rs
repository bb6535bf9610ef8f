//! Karras et al., "Elucidating the design space of diffusion-based generative models", 2022, equation 5.

use super::ramp;
use crate::schedule::NoiseModel;

/// The exponent: they found 5 to 10 good, and all programs took 7.
const RHO: f64 = 7.0;

/// Evenly in sigma^(1/rho).
pub(in crate::schedule) fn karras(noise: &NoiseModel, steps: usize, rho: Option<f64>) -> Vec<f64> {
    let rho = rho.unwrap_or(RHO);
    let (min, max) = noise.sigma_range();
    let (low, high) = (min.powf(rho.recip()), max.powf(rho.recip()));
    ramp(high, low, steps).map(|root| root.powf(rho)).collect()
}
