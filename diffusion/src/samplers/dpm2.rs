//! DPM-Solver-2: Lu et al., "DPM-Solver: a fast ODE solver for diffusion probabilistic model sampling in around 10 steps", 2022,
//! algorithm 1, in k-diffusion's form. diffusers' `KDPM2DiscreteScheduler`, k-diffusion's `sample_dpm_2`.
//!
//! Euler's method goes half of the way in log sigma, and the slope there is taken for the whole step. A step to 0 is Euler's alone.

use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Discretization, ScheduleKind};
use latent_tensor::Tensor;

/// DPM-Solver-2. Second order, two evaluations a step; noise only if it is churned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpm2;

impl Named for Dpm2 {
    fn name(&self) -> &'static str {
        "dpm2"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["dpm_2"]
    }
}

impl Sampler for Dpm2 {
    fn label(&self) -> &'static str {
        "DPM2"
    }

    fn about(&self) -> &'static str {
        "precise, two evaluations a step; much as Heun"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Dpm2
    }

    fn default_kind(&self) -> ScheduleKind {
        ScheduleKind::Karras
    }

    fn evaluations(&self) -> usize {
        2
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        for i in 0..run.schedule.steps() {
            let to = run.span(i).1;
            let (denoised, from) = run.denoise_churned(i)?;
            midpoint_step(run, &denoised, from, to)?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}

/// From the level `from` to `to` along the slope in the middle.
pub(super) fn midpoint_step(
    run: &mut SamplingRun<'_>,
    denoised: &Tensor,
    from: f64,
    to: f64,
) -> Result<(), SampleError> {
    if to <= 0.0 {
        run.set(&[(1.0, denoised)])?;
        return Ok(());
    }
    let middle = run.schedule.noise_model().level_at((from * to).sqrt());
    let there = sum(&[(middle.sigma / from, &*run.x), (1.0 - middle.sigma / from, denoised)])?;
    let second = run.model.denoise(&there, middle)?;
    let slope = (to - from) / middle.sigma;
    run.advance(1.0, &[(slope, &there), (-slope, &second)])?;
    Ok(())
}
