//! Which noise levels an image passes on its way from noise, and which time step the model is told at each.
//!
//! Programs differ here more than in their samplers, and a seed gives the image people know only with the
//! same levels. There are two families, [`Convention::KDiffusion`] and [`Convention::Diffusers`], each in a file of its
//! own.
//!
//! Latents are "variance exploding" throughout: x = x0 + sigma n. Classes of diffusers that hold sqrt(a) x0 +
//! sqrt(1 - a) n instead ("variance preserving") are the same up to the factor sqrt(sigma^2 + 1).

mod diffusers;
mod k_diffusion;
mod kind;
mod spacing;
mod training;

pub use kind::ScheduleKind;
pub(crate) use training::scaled_linear_betas;
pub use training::{Training, ZERO_SNR_DIFFUSERS, ZERO_SNR_WEBUI};

use crate::names::{self, Named, UnknownName};
use std::fmt;

/// Most levels that can be given one by one.
const MAX_SIGMAS: usize = 1000;

/// Whose conventions a schedule follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// k-diffusion's, shared by the web UI, ComfyUI and stable-diffusion.cpp. Noise levels come first; the
    /// time step of a level is found by log-linear interpolation, fractions and all. The last level is 0.
    KDiffusion,
    /// diffusers' (0.42). Time steps come first, laid out and rounded as the class of that sampler does.
    Diffusers,
}

impl Convention {
    /// All forms.
    pub const ALL: &[Self] = &[Self::KDiffusion, Self::Diffusers];

    /// The form of that name.
    ///
    /// # Errors
    /// [`UnknownName`], with the nearest known one.
    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        names::find("schedule convention", name, Self::ALL).copied()
    }

    /// How many of the first steps an image-to-image run leaves out. `strength`, 0 to 1, is the part of
    /// the way that is walked; the two families round it differently, and the web UI always walks one step
    /// more.
    #[must_use]
    pub fn skipped_steps(self, steps: usize, strength: f64) -> usize {
        /// The web UI's limit, which keeps its first level in use at full strength.
        const WEBUI_MAX_STRENGTH: f64 = 0.999;
        let walked = match self {
            Self::Diffusers => (steps as f64 * strength.max(0.0)) as usize,
            Self::KDiffusion => (steps as f64 * strength.clamp(0.0, WEBUI_MAX_STRENGTH)) as usize + 1,
        };
        steps.saturating_sub(walked)
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

/// The layouts of time steps among the scheduler classes of diffusers; each sampler knows the one of its
/// class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// `DDIMScheduler`: whole time steps; a step aims 1000/n time steps down, which is not always the next
    /// one; the last level is that of time step 0, not 0.
    Ddim,
    /// `EulerDiscreteScheduler` and its like: fractions are kept.
    Euler,
    /// `DPMSolverMultistepScheduler` and its like: whole time steps, n + 1 points of which the last is
    /// dropped.
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

/// A noise level together with the time step that tells the model of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The amount of noise: x = x0 + sigma n.
    pub sigma: f64,
    /// What the model is given, in 0 to 999, possibly with a fraction.
    pub timestep: f64,
}

/// The levels of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    levels: Vec<Level>,
    /// The sigma at which each step ends: that of the next level except for [`Grid::Ddim`].
    targets: Vec<f64>,
    initial_scale: f64,
    training: Training,
    churn: Churn,
}

/// Noise that is added on the way beyond what a sampler adds by itself, and how strong all added noise is: Karras et al.,
/// "Elucidating the design space of diffusion-based generative models", 2022, algorithm 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Churn {
    /// S_churn: 0 for none; Euler, Heun and DPM2 go up by this part of a level, divided by the number of steps, before
    /// each step goes down.
    pub amount: f64,
    /// S_noise: what all added noise is multiplied with; 1 is what the level calls for.
    pub noise: f64,
}

impl Default for Churn {
    fn default() -> Self {
        Self { amount: 0.0, noise: 1.0 }
    }
}

impl Schedule {
    /// The schedule of `steps` steps. `grid` (from [`crate::samplers::Sampler::grid`]) matters to
    /// [`Convention::Diffusers`] only.
    ///
    /// # Errors
    /// [`ScheduleError`] if there are no steps or too many, or if the form or the grid has no such kind.
    pub fn new(
        training: &Training,
        convention: Convention,
        kind: ScheduleKind,
        grid: Grid,
        steps: usize,
    ) -> Result<Self, ScheduleError> {
        Self::with_rho(training, convention, kind, grid, steps, None)
    }

    /// The same, with the exponent of the spacings that have one: [`ScheduleKind::Karras`] (7 is usual) and
    /// [`ScheduleKind::Polyexponential`] (1).
    ///
    /// # Errors
    /// As [`Schedule::new`].
    pub fn with_rho(
        training: &Training,
        convention: Convention,
        kind: ScheduleKind,
        grid: Grid,
        steps: usize,
        rho: Option<f64>,
    ) -> Result<Self, ScheduleError> {
        let max = training.sigmas().len();
        if steps == 0 || steps > max {
            return Err(ScheduleError::Steps { steps, max });
        }
        match convention {
            Convention::KDiffusion => k_diffusion::schedule(training, kind, steps, rho),
            Convention::Diffusers => diffusers::schedule(training, kind, grid, steps, rho),
        }
    }

    /// Given levels, in k-diffusion's form. A 0 at the end is where the last step ends, and is added if it is missing.
    ///
    /// # Errors
    /// [`ScheduleError::Sigmas`] unless there is a level above 0, and each is below the one before it.
    pub fn from_sigmas(training: &Training, sigmas: &[f64]) -> Result<Self, ScheduleError> {
        let levels = sigmas.strip_suffix(&[0.0]).unwrap_or(sigmas);
        let mut above = f64::INFINITY;
        for (index, &value) in levels.iter().enumerate() {
            if !(value > 0.0 && value < above) {
                return Err(ScheduleError::Sigmas { index, value: Some(value) });
            }
            above = value;
        }
        match levels {
            [] => Err(ScheduleError::Sigmas { index: 0, value: None }),
            levels if levels.len() > MAX_SIGMAS => {
                Err(ScheduleError::Steps { steps: levels.len(), max: MAX_SIGMAS })
            }
            levels => Ok(k_diffusion::from_sigmas(training, levels, 0.0)),
        }
    }

    /// Levels of which each step ends where the next begins, the last at `final_sigma`.
    fn chain(training: &Training, levels: Vec<Level>, final_sigma: f64, initial_scale: f64) -> Self {
        let targets = levels.iter().skip(1).map(|level| level.sigma).chain([final_sigma]).collect();
        Self { levels, targets, initial_scale, training: training.clone(), churn: Churn::default() }
    }

    /// This schedule, with the last step ending at `sigma`: 0, or the smallest level of the training
    /// (`final_sigmas_type` in diffusers).
    #[must_use]
    pub fn ending_at(mut self, sigma: f64) -> Self {
        if let Some(last) = self.targets.last_mut() {
            *last = sigma;
        }
        self
    }

    /// This schedule, with so much noise added on the way.
    #[must_use]
    pub fn with_churn(mut self, churn: Churn) -> Self {
        self.churn = churn;
        self
    }

    /// How much noise is added on the way.
    #[must_use]
    pub fn churn(&self) -> Churn {
        self.churn
    }

    /// The training whose levels these are.
    #[must_use]
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// The number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.levels.len()
    }

    /// The level at which each step begins, falling.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The sigma at which each step ends.
    #[must_use]
    pub fn targets(&self) -> &[f64] {
        &self.targets
    }

    /// What unit noise is multiplied with to start from nothing but noise. Not always the first sigma:
    /// diffusers often starts at sqrt(sigma^2 + 1).
    #[must_use]
    pub fn initial_scale(&self) -> f64 {
        self.initial_scale
    }

    /// Turns unit noise into the latents to start from.
    pub fn scale_noise(&self, noise: &mut [f32]) {
        noise.iter_mut().for_each(|n| *n = (f64::from(*n) * self.initial_scale) as f32);
    }

    /// The latents to start from when an image is to show through: `latents` + sigma `noise` at the first
    /// level, elementwise.
    #[must_use]
    pub fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32> {
        add_noise(latents, noise, self.levels[0].sigma)
    }

    /// This schedule without its first `skipped` steps (see [`Convention::skipped_steps`]).
    ///
    /// # Errors
    /// [`ScheduleError::NothingLeft`] if that leaves none.
    pub fn after(mut self, skipped: usize) -> Result<Self, ScheduleError> {
        let steps = self.steps();
        if skipped >= steps {
            return Err(ScheduleError::NothingLeft { steps });
        }
        self.levels.drain(..skipped);
        self.targets.drain(..skipped);
        Ok(self)
    }
}

/// `latents` + `sigma` `noise`, elementwise.
#[must_use]
pub fn add_noise(latents: &[f32], noise: &[f32], sigma: f64) -> Vec<f32> {
    latents.iter().zip(noise).map(|(x, n)| (f64::from(*x) + sigma * f64::from(*n)) as f32).collect()
}

/// Why a schedule cannot be made.
#[derive(Clone, Debug, PartialEq)]
pub enum ScheduleError {
    /// No steps, or more than there are time steps in the training.
    Steps {
        /// The number asked for.
        steps: usize,
        /// The largest that is possible.
        max: usize,
    },
    /// The spacing does not exist there.
    Kind {
        /// The spacing asked for.
        kind: ScheduleKind,
        /// The form it was asked of.
        convention: Convention,
        /// Those that exist there.
        known: &'static [ScheduleKind],
    },
    /// Given levels that do not fall.
    Sigmas {
        /// The first bad index.
        index: usize,
        /// The value there, if there is one.
        value: Option<f64>,
    },
    /// A strength so small that no step remains.
    NothingLeft {
        /// The steps of the whole schedule.
        steps: usize,
    },
    /// A table of alpha-bar that is no noise schedule.
    AlphasCumprod {
        /// The first bad index.
        index: usize,
        /// The value there, if there is one.
        value: Option<f64>,
    },
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps { steps, max } => write!(f, "{steps} steps: give a number from 1 to {max}"),
            Self::Kind { kind, convention, known } => {
                let known: Vec<_> = known.iter().map(Named::name).collect();
                let (name, known) = (kind.name(), known.join(", "));
                write!(
                    f,
                    "this sampler has no \"{name}\" schedule in the {convention} convention; choose one of: {known}"
                )
            }
            Self::Sigmas { index, value: Some(value) } => write!(
                f,
                "sigma {} is {value}: each must be above 0 and below the one before it, as in 14.6,7,2.9,0.8,0",
                index + 1
            ),
            Self::Sigmas { value: None, .. } => {
                write!(f, "no sigma is given: one for each step is expected, as in 14.6,7,2.9,0.8,0")
            }
            Self::NothingLeft { steps } => {
                write!(
                    f,
                    "the strength is so low that none of the {steps} steps is left: raise it or the steps"
                )
            }
            Self::AlphasCumprod { index, value: Some(value) } => write!(
                f,
                "alphas_cumprod[{index}] is {value}: the values must fall, and lie between 0 and 1 (both excluded)"
            ),
            Self::AlphasCumprod { value: None, .. } => {
                write!(f, "alphas_cumprod has fewer than two values: one for each training step is expected")
            }
        }
    }
}

impl std::error::Error for ScheduleError {}

#[cfg(test)]
mod tests;
