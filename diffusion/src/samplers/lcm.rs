//! Latent consistency models: Luo et al., "Latent consistency models: synthesizing high-resolution images with few-step inference",
//! 2023, algorithm 1, and Song et al., "Consistency models", 2023. diffusers' `LCMScheduler`.
//!
//! Such a model goes to the image in one step. Each step after that adds fresh noise to the image and goes again from a lower level.
//! The model's function is c_skip z + c_out D, with z the variance-preserving latents; both factors follow from the time step t (appendix
//! B): c_skip is 1 at t = 0, where nothing is left to do, and next to nothing everywhere else.

use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Convention, Discretization};

/// What time steps are multiplied by in the boundary condition.
const TIMESTEP_SCALING: f64 = 10.0;
/// sigma_data^2 in the boundary condition.
const DATA_VARIANCE: f64 = 0.25;

/// The sampler of latent consistency models. One evaluation a step, noise between steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lcm;

impl Named for Lcm {
    fn name(&self) -> &'static str {
        "lcm"
    }
}

impl Sampler for Lcm {
    fn label(&self) -> &'static str {
        "LCM"
    }

    fn about(&self) -> &'static str {
        "only for LCM models and LCM LoRAs: 4 to 8 steps, cfg scale 1 to 2"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Lcm
    }

    fn default_convention(&self) -> Convention {
        Convention::Diffusers
    }

    fn sample(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        for i in 0..run.schedule.steps() {
            let (level, to) = (run.schedule.levels()[i], run.span(i).1);
            let denoised = run.denoise(i)?;
            let time = TIMESTEP_SCALING * level.timestep;
            let skip = DATA_VARIANCE / (time * time + DATA_VARIANCE);
            let out = time / (time * time + DATA_VARIANCE).sqrt();
            run.blend(skip / run.schedule.noise_model().input_divisor(level.sigma), out, &denoised);
            run.add_noise(to);
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
