//! CFG++ (Chung et al. 2024) with ancestral noise. ComfyUI's `euler_ancestral_cfg_pp`.

use super::added_noise::ancestral;
use super::noise_ratios::in_noise_ratios;
use super::{SampleError, Sampler, SamplingRun, euler_cfg_pp};
use crate::names::Named;
use crate::schedule::Discretization;

/// The usual amount of noise: all of it.
const DEFAULT_ETA: f64 = 1.0;

/// Euler's method with CFG++ and ancestral noise. One evaluation a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EulerACfgPp;

impl Named for EulerACfgPp {
    fn name(&self) -> &'static str {
        "euler_a_cfg++"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["euler_ancestral_cfg_pp"]
    }
}

impl Sampler for EulerACfgPp {
    fn label(&self) -> &'static str {
        "Euler a CFG++"
    }

    fn about(&self) -> &'static str {
        "Euler a that keeps natural colours under guidance; cfg scale 1 to 2"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn needs_negative(&self) -> bool {
        true
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        in_noise_ratios(run, |run| self.solve(run))
    }
}

impl EulerACfgPp {
    fn solve(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let eta = run.eta.unwrap_or(DEFAULT_ETA);
        for i in 0..run.schedule.steps() {
            let (from, to) = run.span(i);
            let (down, up) = ancestral(from, to, eta);
            let denoised = euler_cfg_pp::step(run, i, down)?;
            run.add_noise(up)?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
