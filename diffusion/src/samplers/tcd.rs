//! Trajectory consistency distillation: Zheng et al., "Trajectory consistency distillation: improved latent consistency distillation by
//! semi-linear consistency function with trajectory mapping", 2024, algorithm 4 ("strategic stochastic sampling"). diffusers' `TCDScheduler`.
//!
//! Each step goes down to a time step below the next one, (1 - eta) of it, and noise leads back up. eta, the paper's gamma, is 0 for no
//! noise and 1 for what LCM does; the fewer errors a model makes, the less is needed.

use super::{FlowMatchingSupport, SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Convention, Discretization};

/// The paper's choice.
const DEFAULT_ETA: f64 = 0.3;

/// The sampler of TCD models. One evaluation a step, noise as eta says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcd;

impl Named for Tcd {
    fn name(&self) -> &'static str {
        "tcd"
    }
}

impl Sampler for Tcd {
    fn label(&self) -> &'static str {
        "TCD"
    }

    fn about(&self) -> &'static str {
        "only for TCD and Hyper-SD models and LoRAs: 4 to 8 steps, eta 0.3"
    }

    fn flow_matching(&self) -> FlowMatchingSupport {
        FlowMatchingSupport::None
    }

    fn discretization(&self) -> Discretization {
        Discretization::Tcd
    }

    fn default_convention(&self) -> Convention {
        Convention::Diffusers
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let eta = run.eta.unwrap_or(DEFAULT_ETA).clamp(0.0, 1.0);
        let steps = run.schedule.steps();
        for i in 0..steps {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            let down = if i + 1 < steps {
                let below = ((1.0 - eta) * run.end(i).timestep).floor();
                if eta > 0.0 { run.schedule.noise_model().sigma_at(below).min(to) } else { to }
            } else {
                to
            };
            run.blend(down / from, 1.0 - down / from, &denoised)?;
            run.add_noise((to * to - down * down).sqrt())?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
