//! DPM-Solver-2 with ancestral noise: diffusers' `KDPM2AncestralDiscreteScheduler`, k-diffusion's `sample_dpm_2_ancestral`.
//!
//! [`super::Dpm2`]'s step goes to a level below the target, and noise makes up for the rest, as in [`super::EulerA`].

use super::dpm2::midpoint_step;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Discretization, ScheduleKind};

/// The usual amount of noise: all of it.
const DEFAULT_ETA: f64 = 1.0;

/// DPM-Solver-2 with ancestral noise. Two evaluations a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpm2A;

impl Named for Dpm2A {
    fn name(&self) -> &'static str {
        "dpm2_a"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["dpm_2_ancestral", "dpm_2_a", "dpm2_ancestral"]
    }
}

impl Sampler for Dpm2A {
    fn label(&self) -> &'static str {
        "DPM2 a"
    }

    fn about(&self) -> &'static str {
        "much as Euler a, two evaluations a step"
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
        let eta = run.eta.unwrap_or(DEFAULT_ETA);
        for i in 0..run.schedule.steps() {
            let (from, step) = (run.span(i).0, run.ancestral(i, eta));
            let denoised = run.denoise(i)?;
            midpoint_step(run, &denoised, from, step.down)?;
            run.finish_ancestral(step)?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
