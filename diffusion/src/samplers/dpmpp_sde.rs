//! DPM-Solver++ with noise, single step: the method of Lu et al., "DPM-Solver++", 2022, applied to the stochastic equation.
//! diffusers' `DPMSolverSDEScheduler`, k-diffusion's `sample_dpmpp_sde`.
//!
//! A noisy step of the first order goes half of the way in log sigma; the estimate there is taken for the whole step, which has
//! noise of its own. Both draw fresh noise. (k-diffusion takes both from one Brownian path, in which the noise of the half step is a
//! part of the whole step's. Each alone has the same distribution.)

use super::added_noise::ancestral;
use super::noise_ratios::in_noise_ratios;
use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Discretization, ScheduleKind};

/// The usual amount of noise: all of it.
const DEFAULT_ETA: f64 = 1.0;

/// DPM-Solver++ SDE. Two evaluations a step, noise in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DpmppSde;

impl Named for DpmppSde {
    fn name(&self) -> &'static str {
        "dpm++_sde"
    }
}

impl Sampler for DpmppSde {
    fn label(&self) -> &'static str {
        "DPM++ SDE"
    }

    fn about(&self) -> &'static str {
        "rich detail already from 10 steps, two evaluations each"
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
        in_noise_ratios(run, |run| self.solve(run))
    }
}

impl DpmppSde {
    fn solve(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let eta = run.eta.unwrap_or(DEFAULT_ETA);
        for i in 0..run.schedule.steps() {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            if to > 0.0 {
                let middle = run.schedule.noise_model().level_at((from * to).sqrt());
                let (down, up) = ancestral(from, middle.sigma, eta);
                let mut there = sum(&[(down / from, &*run.x), (1.0 - down / from, &denoised)])?;
                if up > 0.0 {
                    let noise = run.draw()?;
                    there = sum(&[(1.0, &there), (up * run.schedule.churn().noise, &noise)])?;
                }
                let second = run.model.denoise(&there, middle)?;
                run.ancestral_step(i, &second, eta)?;
            } else {
                run.set(&[(1.0, &denoised)])?;
            }
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
