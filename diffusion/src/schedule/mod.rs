//! Which noise levels a run passes on its way from noise to an image, and which time step the model is given at each.
//!
//! Programs differ here more than in their samplers, and a seed gives the image that people know only with the same levels.
//! There are two conventions, [`Convention::KDiffusion`] and [`Convention::Diffusers`], each in a file of its own.
//!
//! A [`NoiseModel`] says how a model was trained to see noise. For Stable Diffusion's, noisy latents are "variance
//! exploding" throughout: x = x0 + sigma n. Classes of diffusers that hold sqrt(a) x0 + sqrt(1 - a) n instead ("variance
//! preserving") are the same up to the factor sqrt(sigma^2 + 1).

mod convention;
mod diffusers;
mod edm;
mod error;
mod k_diffusion;
mod kind;
mod noise_model;
mod prediction;
mod spacing;
mod training;

pub use convention::{Convention, Discretization};
pub use edm::EdmTraining;
pub use error::ScheduleError;
pub use kind::ScheduleKind;
pub use noise_model::{FlowMatching, NoiseModel};
pub use prediction::Prediction;
pub(crate) use training::scaled_linear_betas;
pub use training::{Training, ZERO_SNR_DIFFUSERS, ZERO_SNR_WEBUI};

/// Maximum number of levels that are given one by one.
const MAX_SIGMAS: usize = 1000;

/// A noise level together with the time step that the model is given for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseLevel {
    /// The amount of noise, as the [`NoiseModel`] counts it.
    pub sigma: f64,
    /// What the model is given, in 0 to 999, possibly with a fraction.
    pub timestep: f64,
}

/// The levels of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    levels: Vec<NoiseLevel>,
    /// The sigma at which each step ends: that of the next level except for [`Discretization::Ddim`].
    targets: Vec<f64>,
    initial_scale: f64,
    noise_model: NoiseModel,
    churn: Churn,
}

/// Noise that is added in each step beyond what a sampler adds by itself, and how strong all added noise is: Karras et al.,
/// "Elucidating the design space of diffusion-based generative models", 2022, algorithm 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Churn {
    /// S_churn: 0 for none; Euler, Heun and DPM2 go up by this part of a level, divided by the number of steps, before
    /// each step goes down.
    pub amount: f64,
    /// S_noise: what all added noise is multiplied by; 1 is what the level calls for.
    pub noise: f64,
}

impl Default for Churn {
    fn default() -> Self {
        Self { amount: 0.0, noise: 1.0 }
    }
}

impl Convention {
    /// The kinds of schedules that it has for samplers of that discretization.
    #[must_use]
    pub fn kinds(self, discretization: Discretization) -> &'static [ScheduleKind] {
        match self {
            Self::KDiffusion => k_diffusion::KINDS,
            Self::Diffusers => diffusers::kinds(discretization),
        }
    }
}

impl Schedule {
    /// The schedule of `steps` steps. `discretization` (of the [`Sampler`](crate::samplers::Sampler)) matters to
    /// [`Convention::Diffusers`] only.
    ///
    /// # Errors
    /// [`ScheduleError`] if there are no steps or too many, or if the convention or the discretization has no such kind.
    pub fn new(
        noise_model: &NoiseModel,
        convention: Convention,
        kind: ScheduleKind,
        discretization: Discretization,
        steps: usize,
    ) -> Result<Self, ScheduleError> {
        Self::with_rho(noise_model, convention, kind, discretization, steps, None)
    }

    /// The same, with the exponent of the spacings that have one: [`ScheduleKind::Karras`] (7 is usual) and
    /// [`ScheduleKind::Polyexponential`] (1).
    ///
    /// # Errors
    /// As [`Schedule::new`].
    pub fn with_rho(
        noise_model: &NoiseModel,
        convention: Convention,
        kind: ScheduleKind,
        discretization: Discretization,
        steps: usize,
        rho: Option<f64>,
    ) -> Result<Self, ScheduleError> {
        let max = noise_model.sigmas().len();
        if steps == 0 || steps > max {
            return Err(ScheduleError::Steps { steps, max });
        }
        match (convention, noise_model) {
            (Convention::Diffusers, NoiseModel::VariancePreserving { training, .. }) => {
                diffusers::schedule((noise_model, training), kind, discretization, steps, rho)
            }
            // Its EDM schedulers have noise levels, too, and start from noise over clean latents of unit variance.
            (Convention::Diffusers, NoiseModel::Edm { .. }) => {
                let schedule = k_diffusion::schedule(noise_model, (kind, discretization), steps, rho)?;
                let initial_scale = schedule.levels[0].sigma.hypot(1.0);
                Ok(Schedule { initial_scale, ..schedule })
            }
            // diffusers' flow matching schedulers start from noise levels, too.
            _ => k_diffusion::schedule(noise_model, (kind, discretization), steps, rho),
        }
    }

    /// Given levels, in k-diffusion's convention. A 0 at the end is where the last step ends, and is added if it is missing.
    ///
    /// # Errors
    /// [`ScheduleError::Sigmas`] unless there is a level above 0, and each is below the one before it.
    pub fn from_sigmas(noise_model: &NoiseModel, sigmas: &[f64]) -> Result<Self, ScheduleError> {
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
            levels => Ok(k_diffusion::from_sigmas(noise_model, levels, 0.0)),
        }
    }

    /// Levels at which each step ends where the next begins, the last at `final_sigma`.
    fn chain(
        noise_model: &NoiseModel,
        levels: Vec<NoiseLevel>,
        final_sigma: f64,
        initial_scale: f64,
    ) -> Self {
        let targets = levels.iter().skip(1).map(|level| level.sigma).chain([final_sigma]).collect();
        Self { levels, targets, initial_scale, noise_model: noise_model.clone(), churn: Churn::default() }
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

    /// This schedule with other sigmas for its levels, those of a noise model.
    pub(crate) fn mapped(&self, noise_model: NoiseModel, map: impl Fn(f64) -> f64) -> Schedule {
        let level = |level: &NoiseLevel| NoiseLevel { sigma: map(level.sigma), ..*level };
        Schedule {
            levels: self.levels.iter().map(level).collect(),
            targets: self.targets.iter().map(|sigma| map(*sigma)).collect(),
            initial_scale: map(self.initial_scale),
            noise_model,
            churn: self.churn,
        }
    }

    /// This schedule with that much noise added in each step.
    #[must_use]
    pub fn with_churn(mut self, churn: Churn) -> Self {
        self.churn = churn;
        self
    }

    /// How much noise is added in each step.
    #[must_use]
    pub fn churn(&self) -> Churn {
        self.churn
    }

    /// The noise model whose levels these are.
    #[must_use]
    pub fn noise_model(&self) -> &NoiseModel {
        &self.noise_model
    }

    /// The number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.levels.len()
    }

    /// The level at which each step begins, falling.
    #[must_use]
    pub fn levels(&self) -> &[NoiseLevel] {
        &self.levels
    }

    /// The sigma at which each step ends.
    #[must_use]
    pub fn targets(&self) -> &[f64] {
        &self.targets
    }

    /// What unit noise is multiplied by to start from nothing but noise. Not always the first sigma:
    /// diffusers often starts at sqrt(sigma^2 + 1).
    #[must_use]
    pub fn initial_scale(&self) -> f64 {
        self.initial_scale
    }

    /// Makes unit noise the latents to start from.
    pub fn scale_noise(&self, noise: &mut [f32]) {
        noise.iter_mut().for_each(|n| *n = (f64::from(*n) * self.initial_scale) as f32);
    }

    /// The latents to start from when an image is to show through: clean `latents` with `noise` of the first level
    /// ([`NoiseModel::add_noise`]).
    #[must_use]
    pub fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32> {
        self.noise_model.add_noise(latents, noise, self.levels[0].sigma)
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

#[cfg(test)]
mod tests;
