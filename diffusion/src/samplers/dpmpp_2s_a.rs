//! DPM-Solver++(2S) with ancestral noise: Lu et al., "DPM-Solver++", 2022, algorithm 1. k-diffusion's `sample_dpmpp_2s_ancestral`.
//!
//! A step of the first order goes half of the way in log sigma; the estimate there is taken for the whole step, to a level below the
//! target, and noise makes up for the rest, as in [`super::EulerA`]. For flow matching half of the way is in log(sigma / (1 - sigma)).

use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Discretization, ScheduleKind};

/// The usual amount of noise: all of it.
const DEFAULT_ETA: f64 = 1.0;

/// DPM-Solver++(2S) with ancestral noise. Two evaluations a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpmpp2sA;

impl Named for Dpmpp2sA {
    fn name(&self) -> &'static str {
        "dpm++2s_a"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["dpmpp_2s_ancestral"]
    }
}

impl Sampler for Dpmpp2sA {
    fn label(&self) -> &'static str {
        "DPM++ 2S a"
    }

    fn about(&self) -> &'static str {
        "detailed and varied, two evaluations a step"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
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
            let (down, noise_model) = (step.down, run.schedule.noise_model());
            let denoised = run.denoise(i)?;
            let mut second = None;
            if down > 0.0 {
                let middle = noise_model.level_at(noise_model.middle(from, down));
                let part = middle.sigma / from;
                let there = sum(&[(part, &*run.x), (1.0 - part, &denoised)])?;
                second = Some(run.model.denoise(&there, middle)?);
            }
            run.blend(down / from, 1.0 - down / from, second.as_ref().unwrap_or(&denoised))?;
            run.finish_ancestral(step)?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
