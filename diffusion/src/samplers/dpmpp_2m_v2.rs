//! DPM++ 2M v2: DPM-Solver++(2M) with a milder extrapolation where steps differ in length. stable-diffusion.cpp's `dpm++2mv2`.
//!
//! The slope counts by the ratio of the longer to the shorter of the last two steps, and the exponential is of their mean length.

use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Discretization, ScheduleKind};
use latent_tensor::Tensor;

/// DPM++ 2M v2. Second order, one evaluation a step, no noise added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpmpp2mV2;

impl Named for Dpmpp2mV2 {
    fn name(&self) -> &'static str {
        "dpm++2mv2"
    }
}

impl Sampler for Dpmpp2mV2 {
    fn label(&self) -> &'static str {
        "DPM++ 2M v2"
    }

    fn about(&self) -> &'static str {
        "as DPM++ 2M, milder where steps differ in length"
    }

    fn discretization(&self) -> Discretization {
        Discretization::DpmSolver
    }

    fn default_kind(&self) -> ScheduleKind {
        ScheduleKind::Karras
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        // The estimate before, and the length in log sigma of the step after it.
        let mut before: Option<(Tensor, f64)> = None;
        for i in 0..run.schedule.steps() {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            let length = (from / to).ln();
            match before.take().filter(|(_, last)| to > 0.0 && *last > 0.0) {
                Some((old, last)) => {
                    let ratio = last.max(length) / last.min(length);
                    let weight = -(-(last + length) / 2.0).exp_m1();
                    let change = 0.5 / ratio;
                    let direction = sum(&[(1.0 + change, &denoised), (-change, &old)])?;
                    run.blend(to / from, weight, &direction)?;
                }
                None => run.blend(to / from, 1.0 - to / from, &denoised)?,
            }
            run.end_step(i, &denoised)?;
            before = Some((denoised, length));
        }
        Ok(())
    }
}
