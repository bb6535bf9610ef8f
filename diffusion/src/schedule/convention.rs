//! Whose rules a schedule follows, and how the scheduler classes of diffusers differ.

use crate::names::{self, Named, UnknownName};
use std::fmt;

/// Whose conventions a schedule follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// k-diffusion's, shared by the web UI, ComfyUI and stable-diffusion.cpp. Noise levels come first; the time step of a
    /// level is found by log-linear interpolation and keeps its fraction. The last level is 0.
    KDiffusion,
    /// diffusers' (0.42). Time steps come first, laid out and rounded as the class of that sampler does.
    Diffusers,
}

impl Convention {
    /// All conventions.
    pub const ALL: &[Self] = &[Self::KDiffusion, Self::Diffusers];

    /// The convention of that name.
    ///
    /// # Errors
    /// [`UnknownName`], with the nearest known one.
    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        names::find("schedule convention", name, Self::ALL).copied()
    }

    /// How many of the first steps an image-to-image run skips. `strength`, 0 to 1, is the fraction of the steps that
    /// is run; the two conventions round it differently, and the web UI always runs one step more.
    #[must_use]
    pub fn skipped_steps(self, steps: usize, strength: f64) -> usize {
        /// The web UI's limit, which keeps its first level in use at full strength.
        const WEBUI_MAX_STRENGTH: f64 = 0.999;
        let run = match self {
            Self::Diffusers => (steps as f64 * strength.max(0.0)) as usize,
            Self::KDiffusion => (steps as f64 * strength.clamp(0.0, WEBUI_MAX_STRENGTH)) as usize + 1,
        };
        steps.saturating_sub(run)
    }

    /// As [`Convention::skipped_steps`], for a model that was trained by flow matching: there diffusers rounds down what is skipped
    /// and not what is run. The first level of such a model is noise alone, which begins a redrawing at full strength only: the
    /// webui's formula skips nothing in 2 steps from a strength of 0.5 on, and the image would be lost.
    #[must_use]
    pub fn skipped_flow_steps(self, steps: usize, strength: f64) -> usize {
        match self {
            Self::Diffusers => (steps as f64 - steps as f64 * strength).clamp(0.0, steps as f64) as usize,
            Self::KDiffusion => {
                let keeps_image = strength < 1.0 && steps > 1;
                self.skipped_steps(steps, strength).max(usize::from(keeps_image))
            }
        }
    }
}

impl Named for Convention {
    fn name(&self) -> &'static str {
        match self {
            Self::KDiffusion => "webui",
            Self::Diffusers => "diffusers",
        }
    }

    fn aliases(&self) -> &'static [&'static str] {
        match self {
            Self::KDiffusion => &["k-diffusion", "comfyui"],
            Self::Diffusers => &[],
        }
    }
}

impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a scheduler class of diffusers turns the training's time steps into those of a run; each sampler knows that of its
/// class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discretization {
    /// `DDIMScheduler`: whole time steps; a step ends 1000/n time steps lower, which is not always the next one; the last
    /// level is that of time step 0, not 0.
    Ddim,
    /// `EulerDiscreteScheduler` and similar: fractions are kept.
    Euler,
    /// `DPMSolverMultistepScheduler` and similar: whole time steps, n + 1 points of which the last is dropped.
    DpmSolver,
    /// `KDPM2DiscreteScheduler`: as Euler, and karras in whole time steps.
    Dpm2,
    /// `DEISMultistepScheduler`: as DPM-Solver, and ends at the smallest level.
    Deis,
    /// `DDPMScheduler`: the time steps of DDIM; each step ends where the next begins, the last at 0.
    Ddpm,
    /// `LCMScheduler`: among the 50 time steps of the distillation.
    Lcm,
    /// `TCDScheduler`: as LCM, and ends at the smallest level.
    Tcd,
}
