//! DPM-Solver++(2M): Lu et al., "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic
//! models", 2022, algorithm 2. diffusers' `DPMSolverMultistepScheduler`, k-diffusion's `sample_dpmpp_2m`.
//!
//! With lambda = -log sigma the equation for x has a linear part that is solved exactly, and D is
//! extrapolated along lambda from this step and the one before: with h the length of this step in lambda and
//! h' that of the one before,
//!
//! x' = sigma'/sigma x + (1 - e^-h) (D + h / (2 h') (D - D'))
//!
//! The first step has no step before it, and the last, whose h is infinite, would extrapolate too far: both
//! take D alone.

use super::{Run, SampleError, Sampler};
use crate::names::Named;
use crate::schedule::Grid;

/// DPM-Solver++(2M). Second order, one evaluation a step, no noise added.
pub struct Dpmpp2m;

impl Named for Dpmpp2m {
    fn name(&self) -> &'static str {
        "dpm++2m"
    }
}

impl Sampler for Dpmpp2m {
    fn label(&self) -> &'static str {
        "DPM++ 2M"
    }

    fn grid(&self) -> Grid {
        Grid::DpmSolver
    }

    fn sample(&self, run: &mut Run<'_>) -> Result<(), SampleError> {
        // The estimate and the length in lambda of the step before.
        let mut before: Option<(Vec<f32>, f64)> = None;
        for i in 0..run.schedule.steps() {
            let (from, to) = run.span(i);
            let h = (from / to).ln();
            let denoised = run.denoise(i)?;
            let weight = -(-h).exp_m1();
            run.blend(to / from, weight, &denoised);
            if let Some((denoised_before, h_before)) = before.take().filter(|(_, h_before)| *h_before > 0.0)
                && h.is_finite()
            {
                let change = weight * h / (2.0 * h_before);
                run.blend(1.0, change, &denoised);
                run.blend(1.0, -change, &denoised_before);
            }
            run.end_step(i, &denoised)?;
            before = Some((denoised, h));
        }
        Ok(())
    }
}
