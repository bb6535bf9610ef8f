//! Euler's method with ancestral noise: diffusers' `EulerAncestralDiscreteScheduler`, k-diffusion's
//! `sample_euler_ancestral`.
//!
//! Of the variance sigma'^2 that the next level is to have, the part that the forward process would have
//! added since then is drawn anew: up^2 = sigma'^2 (sigma^2 - sigma'^2) / sigma^2. Euler's method goes down
//! to sqrt(sigma'^2 - up^2), and noise times up is added. This is the sampling of DDPM (Ho, Jain, Abbeel
//! 2020) in other coordinates.

use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;

/// The usual amount of noise: all of it.
const DEFAULT_ETA: f64 = 1.0;

/// Euler's method with ancestral noise. First order, one evaluation a step; images go on changing with more
/// steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EulerA;

impl Named for EulerA {
    fn name(&self) -> &'static str {
        "euler_a"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["euler_ancestral"]
    }
}

impl Sampler for EulerA {
    fn label(&self) -> &'static str {
        "Euler a"
    }

    fn about(&self) -> &'static str {
        "varied and soft; images go on changing with the steps"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let eta = run.eta.unwrap_or(DEFAULT_ETA);
        for i in 0..run.schedule.steps() {
            let denoised = run.denoise(i)?;
            run.ancestral_step(i, &denoised, eta)?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
