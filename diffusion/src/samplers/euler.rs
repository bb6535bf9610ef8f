//! Euler's method: Karras et al. 2022, algorithm 2 without the correction. diffusers'
//! `EulerDiscreteScheduler`, k-diffusion's `sample_euler`.
//!
//! One straight line from level to level: x' = D + (x - D) sigma' / sigma.

use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;

/// Euler's method. First order, one evaluation a step; noise only if it is churned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Euler;

impl Named for Euler {
    fn name(&self) -> &'static str {
        "euler"
    }
}

impl Sampler for Euler {
    fn label(&self) -> &'static str {
        "Euler"
    }

    fn about(&self) -> &'static str {
        "simple and fast: a good first choice"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        for i in 0..run.schedule.steps() {
            let to = run.span(i).1;
            let (denoised, from) = run.denoise_churned(i)?;
            run.blend(to / from, 1.0 - to / from, &denoised)?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
