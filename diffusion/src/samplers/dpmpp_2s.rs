//! DPM-Solver++(2S): Lu et al., "DPM-Solver++", 2022, algorithm 1, without noise. diffusers' `DPMSolverSinglestepScheduler`.
//!
//! Levels come in pairs: a step of the first order goes to the middle one, and a step of the second order then goes from where the
//! pair began to its end. So a level is one evaluation, and what the caller sees in the middle of a pair is of the first order. The
//! last level, and the one before it if their number is even, is of the first order.

use super::noise_ratios::in_noise_ratios;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Discretization, ScheduleKind};
use latent_tensor::Tensor;

/// DPM-Solver++(2S). Second order, one evaluation for each half step, no noise added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpmpp2s;

impl Named for Dpmpp2s {
    fn name(&self) -> &'static str {
        "dpm++2s"
    }
}

impl Sampler for Dpmpp2s {
    fn label(&self) -> &'static str {
        "DPM++ 2S"
    }

    fn about(&self) -> &'static str {
        "as DPM++ 2M, each pair of steps on its own"
    }

    fn discretization(&self) -> Discretization {
        Discretization::DpmSolver
    }

    fn default_kind(&self) -> ScheduleKind {
        ScheduleKind::Karras
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        in_noise_ratios(run, |run| self.solve(run))
    }
}

impl Dpmpp2s {
    fn solve(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let total = run.schedule.steps();
        // Where the pair began: latents, estimate and sigma.
        let mut begun: Option<(Tensor, Tensor, f64)> = None;
        for i in 0..total {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            match begun.take().filter(|_| i + 1 < total) {
                Some((x, first, start)) if start > from => {
                    let (h, half) = ((start / to).ln(), (start / from).ln());
                    let weight = -(-h).exp_m1();
                    let change = weight * h / (2.0 * half);
                    run.set(&[(to / start, &x), (weight - change, &first), (change, &denoised)])?;
                }
                _ => {
                    begun = Some((run.x.clone(), denoised.clone(), from)).filter(|_| i % 2 == 0);
                    run.blend(to / from, 1.0 - to / from, &denoised)?;
                }
            }
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
