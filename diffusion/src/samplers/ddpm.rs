//! DDPM: Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", 2020, algorithm 2, over some of the time steps (Nichol and
//! Dhariwal, "Improved denoising diffusion probabilistic models", 2021, section 4). diffusers' `DDPMScheduler`.
//!
//! Its mean and variance (equations 6 and 7) are, divided by sqrt(alpha-bar), the ancestral step of [`super::EulerA`] with all the noise of
//! the forward process. What is its own are the levels in diffusers' convention: [`Discretization::Ddpm`].

use super::{FlowMatchingSupport, SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;

/// The usual amount of noise: all of it.
const DEFAULT_ETA: f64 = 1.0;

/// DDPM. First order, one evaluation a step, noise in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ddpm;

impl Named for Ddpm {
    fn name(&self) -> &'static str {
        "ddpm"
    }
}

impl Sampler for Ddpm {
    fn label(&self) -> &'static str {
        "DDPM"
    }

    fn about(&self) -> &'static str {
        "the original; needs a hundred steps or more"
    }

    fn flow_matching(&self) -> FlowMatchingSupport {
        FlowMatchingSupport::None
    }

    fn discretization(&self) -> Discretization {
        Discretization::Ddpm
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
