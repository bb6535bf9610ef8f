//! Heun's method: Karras et al., "Elucidating the design space of diffusion-based generative models", 2022, algorithm 2. diffusers'
//! `HeunDiscreteScheduler`, k-diffusion's `sample_heun`.
//!
//! A step of Euler's method, a second evaluation where it ends, and the step again along the mean of both slopes. A step to 0 is
//! Euler's alone, as there is no slope at its end.

use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Discretization, NoiseLevel};
use latent_tensor::Tensor;

/// Heun's method. Second order, two evaluations a step; noise only if it is churned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heun;

impl Named for Heun {
    fn name(&self) -> &'static str {
        "heun"
    }
}

impl Sampler for Heun {
    fn label(&self) -> &'static str {
        "Heun"
    }

    fn about(&self) -> &'static str {
        "precise, two evaluations a step; half the steps of Euler will do"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn evaluations(&self) -> usize {
        2
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        for i in 0..run.schedule.steps() {
            let (denoised, from) = run.denoise_churned(i)?;
            heun_step(run, &denoised, (from, run.end(i)))?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}

/// From a sigma with its estimate to a level: Heun's step, or Euler's to 0.
pub(super) fn heun_step(
    run: &mut SamplingRun<'_>,
    denoised: &Tensor,
    (from, end): (f64, NoiseLevel),
) -> Result<(), SampleError> {
    let to = end.sigma;
    if to <= 0.0 {
        run.set(&[(1.0, denoised)])?;
        return Ok(());
    }
    let there = sum(&[(to / from, &*run.x), (1.0 - to / from, denoised)])?;
    let second = run.model.denoise(&there, end)?;
    let half = (to - from) / 2.0;
    run.advance(1.0 + half / from, &[(-half / from, denoised), (half / to, &there), (-half / to, &second)])?;
    Ok(())
}
