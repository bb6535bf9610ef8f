//! iPNDM: Liu et al., "Pseudo numerical methods for diffusion models on manifolds", 2022, with the start that Zhang and Chen, "Fast
//! sampling of diffusion models with exponential integrator", 2023, section 4, gave it: lower orders while there are few steps to
//! look back on, in place of extra evaluations. ComfyUI's `ipndm`.
//!
//! The formulas of Adams and Bashforth for even steps, up to the fourth order, extrapolate the slope (x - D) / sigma. A step to 0
//! takes the estimate alone.

use super::history::History;
use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;

/// Slopes that count in a step.
const MAX_ORDER: usize = 4;

/// iPNDM. Fourth order where the levels are evenly spaced, one evaluation a step, no noise added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipndm;

impl Named for Ipndm {
    fn name(&self) -> &'static str {
        "ipndm"
    }
}

impl Sampler for Ipndm {
    fn label(&self) -> &'static str {
        "iPNDM"
    }

    fn about(&self) -> &'static str {
        "as PLMS without its extra evaluation; smooth at 10 to 20 steps"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let mut slopes = History::new(MAX_ORDER);
        for i in 0..run.schedule.steps() {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            slopes.push(from, sum(&[(from.recip(), &*run.x), (-from.recip(), &denoised)])?);
            if to > 0.0 {
                let weights: Vec<f64> =
                    adams_bashforth(slopes.len()).iter().map(|w| (to - from) * w).collect();
                run.advance(1.0, &slopes.weighted(&weights))?;
            } else {
                run.set(&[(1.0, &denoised)])?;
            }
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}

/// Weights of the last slopes, newest first, that extrapolate over a step as long as those before: Adams and Bashforth 1883.
pub(super) fn adams_bashforth(order: usize) -> &'static [f64] {
    match order {
        1 => &[1.0],
        2 => &[3.0 / 2.0, -1.0 / 2.0],
        3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
        _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
    }
}
