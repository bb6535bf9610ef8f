//! [`Convention::Diffusers`]: time steps first, as the scheduler classes of diffusers 0.42 lay them out.
//!
//! The classes differ in details that show in the image; the discretizations of this file are those details:
//!
//! | discretization | time steps | latents start at noise times | ends at |
//! |---|---|---|---|
//! | Euler | n points, fractions kept | first sigma; leading: sqrt(sigma^2 + 1) | 0 |
//! | DPM2 | as Euler; karras rounded | as Euler | 0 |
//! | DPM-Solver | n + 1 points, the last dropped; rounded | sqrt(sigma^2 + 1) | 0 |
//! | DEIS | as DPM-Solver | sqrt(sigma^2 + 1) | the smallest level |
//! | DDIM | n points, rounded | sqrt(sigma^2 + 1) | the smallest level |
//! | DDPM | as DDIM | sqrt(sigma^2 + 1) | 0 |
//! | LCM, TCD | n of 50 points | sqrt(sigma^2 + 1) | 0; the smallest level |
//!
//! Sigma at a fractional time step is interpolated linearly in sigma. Karras spacing and its like go the other
//! way, from sigma to the time step: the Euler discretization keeps its fractions, DPM-Solver's rounds it (karras) or cuts
//! it off (the others).
//!
//! DDIM has a rule of its own for where a step ends: at the time step 1000/n (rounded down) below, whatever
//! the next one is, or at time step 0 if that is negative (`set_alpha_to_one = false`, as in all Stable
//! Diffusion folders).

use super::kind::Sigmas;
use super::{
    Convention, Discretization, NoiseLevel, NoiseModel, Schedule, ScheduleError, ScheduleKind, Training,
};

/// What is added to the time steps of the leading spacing; 1 in all Stable Diffusion folders.
const STEPS_OFFSET: usize = 1;

/// In diffusers' f32 the first sigma of the exponential spacing falls short of its whole time step by some
/// 1e-5, which cuts 999 down to 998. Subtracting this before the cut gives the same.
const F32_SHORTFALL: f64 = 1e-5;

/// Time steps among which a consistency model was distilled (`original_inference_steps`).
const DISTILLED_STEPS: usize = 50;

const TIME_KINDS: &[ScheduleKind] = &[
    ScheduleKind::Normal,
    ScheduleKind::Leading,
    ScheduleKind::Linspace,
    ScheduleKind::Trailing,
    ScheduleKind::SgmUniform,
    ScheduleKind::Ddim,
];

const KINDS: &[ScheduleKind] = &[
    ScheduleKind::Normal,
    ScheduleKind::Leading,
    ScheduleKind::Linspace,
    ScheduleKind::Trailing,
    ScheduleKind::SgmUniform,
    ScheduleKind::Ddim,
    ScheduleKind::Karras,
    ScheduleKind::Exponential,
    ScheduleKind::Polyexponential,
    ScheduleKind::Beta,
    ScheduleKind::KlOptimal,
    ScheduleKind::AlignYourSteps,
    ScheduleKind::AlignYourStepsXl,
];

/// Those of a consistency model, whose time steps are its own.
const CONSISTENCY_KINDS: &[ScheduleKind] = &[ScheduleKind::Normal];

/// The kinds that a class has.
pub(super) fn kinds(discretization: Discretization) -> &'static [ScheduleKind] {
    match discretization {
        Discretization::Euler | Discretization::Dpm2 | Discretization::DpmSolver | Discretization::Deis => {
            KINDS
        }
        Discretization::Ddim | Discretization::Ddpm => TIME_KINDS,
        Discretization::Lcm | Discretization::Tcd => CONSISTENCY_KINDS,
    }
}

/// How a class rounds the time step of a level to the one that the model is given.
enum Rounding {
    Kept,
    Nearest,
    Cut,
}

pub(super) fn schedule(
    (noise_model, training): (&NoiseModel, &Training),
    kind: ScheduleKind,
    discretization: Discretization,
    steps: usize,
    rho: Option<f64>,
) -> Result<Schedule, ScheduleError> {
    let made = DiffusersSchedule { noise_model, training, kind, discretization, steps, rho };
    match discretization {
        Discretization::Euler => made.euler(Rounding::Kept),
        Discretization::Dpm2 => {
            made.euler(if kind == ScheduleKind::Karras { Rounding::Nearest } else { Rounding::Kept })
        }
        Discretization::DpmSolver => made.dpm_solver(0.0),
        Discretization::Deis => made.dpm_solver(training.sigma_range().0),
        Discretization::Ddim => made.ddim(),
        Discretization::Ddpm => Ok(made.variance_preserving(made.whole()?, 0.0)),
        Discretization::Lcm => made.consistency(0.0),
        Discretization::Tcd => made.consistency(training.sigma_range().0),
    }
}

/// What a schedule is made of.
struct DiffusersSchedule<'a> {
    noise_model: &'a NoiseModel,
    training: &'a Training,
    kind: ScheduleKind,
    discretization: Discretization,
    steps: usize,
    rho: Option<f64>,
}

impl DiffusersSchedule<'_> {
    fn euler(&self, rounding: Rounding) -> Result<Schedule, ScheduleError> {
        let DiffusersSchedule { training, kind, steps, .. } = *self;
        let leads = matches!(kind, ScheduleKind::Normal | ScheduleKind::Leading | ScheduleKind::Ddim);
        let levels = match kind {
            _ if leads => self.at_timesteps(leading(training, steps, steps)?),
            ScheduleKind::Linspace => self.at_timesteps(linspace(training, steps, steps)),
            ScheduleKind::Trailing | ScheduleKind::SgmUniform => self.at_timesteps(trailing(training, steps)),
            _ => self.at_sigmas(kind.sigmas().ok_or(self.unknown())?, &rounding),
        };
        let first = levels[0].sigma;
        Ok(Schedule::chain(self.noise_model, levels, 0.0, if leads { first.hypot(1.0) } else { first }))
    }

    fn dpm_solver(&self, last: f64) -> Result<Schedule, ScheduleError> {
        let DiffusersSchedule { training, kind, steps, .. } = *self;
        let levels = match kind {
            ScheduleKind::Normal | ScheduleKind::Leading | ScheduleKind::Ddim => {
                self.at_timesteps(leading(training, steps, steps + 1)?)
            }
            ScheduleKind::Linspace => {
                self.at_timesteps(linspace(training, steps, steps + 1).map(f64::round_ties_even))
            }
            ScheduleKind::Trailing | ScheduleKind::SgmUniform => self.at_timesteps(trailing(training, steps)),
            ScheduleKind::Karras => self.at_sigmas(kind.sigmas().ok_or(self.unknown())?, &Rounding::Nearest),
            _ => self.at_sigmas(kind.sigmas().ok_or(self.unknown())?, &Rounding::Cut),
        };
        let last = levels.last().map_or(last, |level| last.min(level.sigma));
        Ok(self.variance_preserving(levels, last))
    }

    fn ddim(&self) -> Result<Schedule, ScheduleError> {
        let levels = self.whole()?;
        let stride = (self.training.sigmas().len() / self.steps) as f64;
        // A negative time step is clamped to 0, whose level is also the one that all runs end at.
        let targets = levels.iter().map(|level| self.training.sigma_at(level.timestep - stride)).collect();
        Ok(Schedule { targets, ..self.variance_preserving(levels, 0.0) })
    }

    /// The first of each of n parts of the time steps of the distillation: 999, 759, … for 4 steps.
    fn consistency(&self, last: f64) -> Result<Schedule, ScheduleError> {
        let DiffusersSchedule { training, kind, steps, .. } = *self;
        if kind != ScheduleKind::Normal {
            return Err(self.unknown());
        }
        if steps > DISTILLED_STEPS {
            return Err(ScheduleError::Steps { steps, max: DISTILLED_STEPS });
        }
        let stride = training.sigmas().len() / DISTILLED_STEPS;
        let timesteps =
            (0..steps).map(|i| ((DISTILLED_STEPS - i * DISTILLED_STEPS / steps) * stride - 1) as f64);
        Ok(self.variance_preserving(self.at_timesteps(timesteps), last))
    }

    /// Whole time steps.
    fn whole(&self) -> Result<Vec<NoiseLevel>, ScheduleError> {
        let DiffusersSchedule { training, kind, steps, .. } = *self;
        Ok(match kind {
            ScheduleKind::Normal | ScheduleKind::Leading | ScheduleKind::Ddim => {
                self.at_timesteps(leading(training, steps, steps)?)
            }
            ScheduleKind::Linspace => {
                self.at_timesteps(linspace(training, steps, steps).map(f64::round_ties_even))
            }
            ScheduleKind::Trailing | ScheduleKind::SgmUniform => self.at_timesteps(trailing(training, steps)),
            _ => return Err(self.unknown()),
        })
    }

    /// A schedule that starts from latents of unit variance.
    fn variance_preserving(&self, levels: Vec<NoiseLevel>, last: f64) -> Schedule {
        let initial_scale = levels[0].sigma.hypot(1.0);
        Schedule::chain(self.noise_model, levels, last, initial_scale)
    }

    fn at_timesteps(&self, timesteps: impl Iterator<Item = f64>) -> Vec<NoiseLevel> {
        timesteps.map(|timestep| NoiseLevel { sigma: self.training.sigma_at(timestep), timestep }).collect()
    }

    fn at_sigmas(&self, sigmas: Sigmas, rounding: &Rounding) -> Vec<NoiseLevel> {
        let level = |sigma| {
            let exact = self.training.timestep_at(sigma);
            let timestep = match rounding {
                Rounding::Kept => exact,
                Rounding::Nearest => exact.round_ties_even(),
                Rounding::Cut => (exact - F32_SHORTFALL).max(0.0).floor(),
            };
            NoiseLevel { sigma, timestep }
        };
        sigmas(self.noise_model, self.steps, self.rho).into_iter().map(level).collect()
    }

    fn unknown(&self) -> ScheduleError {
        let DiffusersSchedule { kind, discretization, .. } = *self;
        ScheduleError::Kind { kind, convention: Convention::Diffusers, discretization }
    }
}

/// The highest `steps` of `points` multiples of 1000/`points` (rounded down), counted from 0, plus the
/// offset.
fn leading(
    training: &Training,
    steps: usize,
    points: usize,
) -> Result<impl Iterator<Item = f64> + use<>, ScheduleError> {
    let trained = training.sigmas().len();
    let stride = trained / points;
    if stride == 0 || (points - 1) * stride + STEPS_OFFSET >= trained {
        return Err(ScheduleError::Steps { steps, max: trained - 1 - (points - steps) });
    }
    Ok((points - steps..points).rev().map(move |i| (i * stride + STEPS_OFFSET) as f64))
}

/// The highest `steps` of `points` evenly spaced numbers from 0 to 999. They are computed upwards, as numpy
/// does: whether a half is rounded up or down depends on it. (For one point numpy
/// takes the 0, from which no image comes; here it is 999.)
fn linspace(training: &Training, steps: usize, points: usize) -> impl Iterator<Item = f64> + use<> {
    let last = training.last_timestep();
    let stride = last / points.saturating_sub(1).max(1) as f64;
    (points - steps..points).rev().map(move |i| if i + 1 == points { last } else { i as f64 * stride })
}

/// Multiples of 1000/n down from 1000, rounded, less one. The stride has the rounding error of numpy's
/// `arange`.
fn trailing(training: &Training, steps: usize) -> impl Iterator<Item = f64> + use<> {
    let trained = training.sigmas().len() as f64;
    let stride = (trained - trained / steps as f64) - trained;
    (0..steps).map(move |i| (trained + i as f64 * stride).round_ties_even() - 1.0)
}
