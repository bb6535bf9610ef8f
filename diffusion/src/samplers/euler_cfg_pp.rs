//! CFG++: Chung et al., "CFG++: manifold-constrained classifier free guidance for diffusion models", 2024, algorithm 2, on Euler's
//! method. ComfyUI's `euler_cfg_pp`.
//!
//! The image is estimated under guidance, but the noise that is put back is that of the negative prompt alone. So guidance does not
//! push the latents away from those that the model knows, and scales between 1 and 2 do what 7 does otherwise.

use super::noise_ratios::in_noise_ratios;
use super::run::GuidedEstimate;
use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;
use latent_tensor::Tensor;

/// Euler's method with CFG++. First order, one evaluation a step, no noise added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EulerCfgPp;

impl Named for EulerCfgPp {
    fn name(&self) -> &'static str {
        "euler_cfg++"
    }
}

impl Sampler for EulerCfgPp {
    fn label(&self) -> &'static str {
        "Euler CFG++"
    }

    fn about(&self) -> &'static str {
        "Euler that keeps natural colours under guidance; cfg scale 1 to 2"
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

impl EulerCfgPp {
    fn solve(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        for i in 0..run.schedule.steps() {
            let to = run.span(i).1;
            let denoised = step(run, i, to)?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}

/// The latents at the level `to`: the guided estimate with the noise of the negative prompt. Gives the estimate back.
pub(super) fn step(run: &mut SamplingRun<'_>, index: usize, to: f64) -> Result<Tensor, SampleError> {
    let from = run.span(index).0;
    let GuidedEstimate { denoised, negative } = run.denoise_apart(index)?;
    let part = to / from;
    let x = sum(&[(1.0, &denoised), (part, &*run.x), (-part, &negative)])?;
    *run.x = x;
    Ok(denoised)
}
