//! Samplers: from noise to an image by repeatedly asking the model what the image might be.
//!
//! All work on noisy latents as the [`NoiseModel`](crate::schedule::NoiseModel) defines them (for Stable Diffusion
//! "variance exploding": x = x0 + sigma n; how they work for flow matching is in `noise_ratios.rs`), and see the model as a [`Denoiser`], the estimate of x0 given x: D(x, sigma) in Karras et al., "Elucidating the design space of diffusion-based
//! generative models", 2022. The direction in which x changes with sigma is (x - D) / sigma. What sets
//! programs apart is mostly the choice of levels, and that is [`crate::schedule`]'s; a sampler is only the
//! rule for one step.
//!
//! Every sampler works element by element on tensors of f32, wherever they are, with coefficients in f64, so that an image does not
//! depend on what else is in its batch. All but a few lines are weighted sums
//! ([`linear_combination`](latent_tensor::ops::linear_combination)).
//!
//! A new sampler is a file with an implementation of [`Sampler`] and two lines here: its module and its place in [`ALL`].

mod added_noise;
mod ddim;
mod ddpm;
mod deis;
mod dpm2;
mod dpm2_a;
mod dpm_adaptive;
mod dpm_fast;
mod dpm_solver;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_2m_sde_heun;
mod dpmpp_2m_v2;
mod dpmpp_2s;
mod dpmpp_2s_a;
mod dpmpp_3m_sde;
mod dpmpp_sde;
mod er_sde;
mod euler;
mod euler_a;
mod euler_a_cfg_pp;
mod euler_cfg_pp;
mod exponential_steps;
mod heun;
mod heunpp2;
mod history;
mod ipndm;
mod ipndm_v;
mod lcm;
mod lms;
mod noise_ratios;
mod plms;
mod res_multistep;
mod restart;
mod run;
mod tcd;
mod unipc;

pub use ddim::Ddim;
pub use ddpm::Ddpm;
pub use deis::Deis;
pub use dpm_adaptive::DpmAdaptive;
pub use dpm_fast::DpmFast;
pub use dpm_solver::{DpmSolver, Extrapolated, SlopeRule};
pub use dpm2::Dpm2;
pub use dpm2_a::Dpm2A;
pub use dpmpp_2m::Dpmpp2m;
pub use dpmpp_2m_sde::Dpmpp2mSde;
pub use dpmpp_2m_sde_heun::Dpmpp2mSdeHeun;
pub use dpmpp_2m_v2::Dpmpp2mV2;
pub use dpmpp_2s::Dpmpp2s;
pub use dpmpp_2s_a::Dpmpp2sA;
pub use dpmpp_3m_sde::Dpmpp3mSde;
pub use dpmpp_sde::DpmppSde;
pub use er_sde::ErSde;
pub use euler::Euler;
pub use euler_a::EulerA;
pub use euler_a_cfg_pp::EulerACfgPp;
pub use euler_cfg_pp::EulerCfgPp;
pub use heun::Heun;
pub use heunpp2::HeunPp2;
pub use ipndm::Ipndm;
pub use ipndm_v::IpndmV;
pub use lcm::Lcm;
pub use lms::Lms;
pub use plms::{Plms, PlmsStart};
pub use res_multistep::ResMultistep;
pub use restart::Restart;
pub use run::{Denoiser, GuidedEstimate, SampleError, SamplerStep, SamplingRun};
pub use tcd::Tcd;
pub use unipc::{UniPc, UniPcVariant};

pub use crate::schedule::Prediction;

use crate::names::{self, Named, UnknownName};
use crate::schedule::{Convention, Discretization, ScheduleKind};
use std::fmt;

/// How far a sampler works with flow matching models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowMatchingSupport {
    /// In all it does.
    Full,
    /// Only without noise: with an eta of 0.
    WithoutEta,
    /// Not at all: it is made for the time steps of variance preserving models.
    None,
}

/// A rule for getting from one noise level to the next.
///
/// Samplers are compared by their names.
pub trait Sampler: Named + fmt::Debug + Sync {
    /// The name that the web UI shows.
    fn label(&self) -> &'static str;

    /// When to use it, in a line.
    fn about(&self) -> &'static str;

    /// The spacing that the web UI uses with it when none is asked for.
    fn default_kind(&self) -> ScheduleKind {
        ScheduleKind::Normal
    }

    /// Evaluations of the network in a step, at most. The last step often takes one.
    fn evaluations(&self) -> usize {
        1
    }

    /// Whether it needs the estimate with the negative prompt alone ([`Denoiser::denoise_apart`]), at any guidance scale.
    fn needs_negative(&self) -> bool {
        false
    }

    /// Whether its steps follow from all images of a batch together, so that each must be drawn alone.
    fn draws_alone(&self) -> bool {
        false
    }

    /// How far it works with flow matching models ([`NoiseModel::FlowMatching`](crate::schedule::NoiseModel)).
    fn flow_matching(&self) -> FlowMatchingSupport {
        FlowMatchingSupport::Full
    }

    /// How the scheduler class of this name in diffusers discretizes its time steps.
    fn discretization(&self) -> Discretization;

    /// The convention that people who know this sampler by name expect.
    fn default_convention(&self) -> Convention {
        Convention::KDiffusion
    }

    /// Takes `run.x` down the whole schedule. Afterwards it holds latents as the VAE expects them.
    ///
    /// Latents, estimates and noise stay on the device of `run.x`; of a GPU nothing is read but whether the estimates are finite,
    /// an evaluation late. Only `DPM adaptive` reads latents, as the error decides on its next step.
    ///
    /// # Errors
    /// [`SampleError::Cancelled`] as soon as `run.on_step` asks for it, otherwise what went wrong with the
    /// model.
    fn sample(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        run.checked(|run| self.take_steps(run))
    }

    /// As [`Sampler::sample`], for a model that is known to give finite estimates of the right shape: what a sampler implements.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError>;
}

impl PartialEq for dyn Sampler {
    fn eq(&self, other: &dyn Sampler) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn Sampler {}

/// All samplers.
pub static ALL: &[&dyn Sampler] = &[
    &Euler,
    &EulerA,
    &Heun,
    &Lms::USUAL,
    &Dpm2,
    &Dpm2A,
    &Dpmpp2m,
    &Dpmpp2s,
    &Dpmpp2sA,
    &Dpmpp2mSde,
    &Dpmpp2mSdeHeun,
    &Dpmpp3mSde,
    &DpmppSde,
    &Ddim,
    &Ddpm,
    &Plms::USUAL,
    &UniPc::USUAL,
    &Deis::USUAL,
    &Lcm,
    &Tcd,
    &ErSde,
    &Ipndm,
    &ResMultistep,
    &Restart,
    &DpmFast,
    &DpmAdaptive,
    &EulerCfgPp,
    &EulerACfgPp,
    &HeunPp2,
    &IpndmV,
    &Dpmpp2mV2,
];

/// The sampler of that name, and the schedule if one is named with it, as in `DPM++ 2M Karras`.
///
/// # Errors
/// [`UnknownName`], with the nearest known one.
pub fn parse(name: &str) -> Result<(&'static dyn Sampler, Option<ScheduleKind>), UnknownName> {
    let all = || ALL.iter().copied();
    let unknown = match names::find("sampler", name, all()) {
        Ok(sampler) => return Ok((sampler, None)),
        Err(unknown) => unknown,
    };
    let whole = names::key(name);
    let mut nearest = None;
    for kind in ScheduleKind::ALL {
        let spellings = [kind.name(), kind.label()].into_iter().chain(kind.aliases().iter().copied());
        for spelling in spellings.map(names::key) {
            let Some(rest) = whole.strip_suffix(spelling.as_str()).filter(|rest| !rest.is_empty()) else {
                continue;
            };
            match names::find("sampler", rest, all()) {
                Ok(sampler) => return Ok((sampler, Some(*kind))),
                Err(without_kind) => nearest = nearest.or(without_kind.nearest),
            }
        }
    }
    Err(UnknownName { nearest: nearest.or(unknown.nearest), ..unknown })
}

#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod tests;
