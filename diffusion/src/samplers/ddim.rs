//! DDIM: Song, Meng, Ermon, "Denoising diffusion implicit models", 2021, equations 12 and 16. diffusers'
//! `DDIMScheduler`.
//!
//! The paper writes it for variance-preserving latents. Divided by sqrt(a), equation 12 without noise is
//! Euler's method, and the sigma of equation 16 is the ancestral noise of Euler a, times eta. What remains of
//! DDIM's own is where its steps begin and end, and that is the schedule's: [`crate::schedule::Discretization::Ddim`].

use super::{FlowMatchingSupport, SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Convention, Discretization};

/// The usual amount of noise: none.
const DEFAULT_ETA: f64 = 0.0;

/// DDIM. First order, one evaluation a step, noise only if eta asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ddim;

impl Named for Ddim {
    fn name(&self) -> &'static str {
        "ddim"
    }
}

impl Sampler for Ddim {
    fn label(&self) -> &'static str {
        "DDIM"
    }

    fn about(&self) -> &'static str {
        "sure and plain; 30 to 50 steps"
    }

    fn flow_matching(&self) -> FlowMatchingSupport {
        FlowMatchingSupport::WithoutEta
    }

    fn discretization(&self) -> Discretization {
        Discretization::Ddim
    }

    fn default_convention(&self) -> Convention {
        Convention::Diffusers
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let eta = run.eta.unwrap_or(DEFAULT_ETA);
        for i in 0..run.schedule.steps() {
            let denoised = run.denoise(i)?;
            run.ancestral_step(i, &denoised, eta)?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
