//! [`Convention::KDiffusion`]: sigmas first.
//!
//! n sigmas run from the largest of the training to the smallest, then 0 follows. Each is given to the model
//! as the time step at which the training's log sigma, linearly interpolated, has that value. The first
//! latents are noise times the first sigma.

use super::{Convention, Discretization, NoiseModel, Schedule, ScheduleError, ScheduleKind, spacing};

pub(super) const KINDS: &[ScheduleKind] = &[
    ScheduleKind::Normal,
    ScheduleKind::Karras,
    ScheduleKind::Exponential,
    ScheduleKind::Polyexponential,
    ScheduleKind::SgmUniform,
    ScheduleKind::Simple,
    ScheduleKind::Ddim,
    ScheduleKind::Beta,
    ScheduleKind::KlOptimal,
    ScheduleKind::AlignYourSteps,
    ScheduleKind::AlignYourStepsXl,
];

pub(super) fn schedule(
    noise_model: &NoiseModel,
    (kind, discretization): (ScheduleKind, Discretization),
    steps: usize,
    rho: Option<f64>,
) -> Result<Schedule, ScheduleError> {
    let sigmas = match (kind, kind.sigmas()) {
        (_, Some(sigmas)) => sigmas(noise_model, steps, rho),
        (ScheduleKind::Normal, _) => spacing::normal(noise_model, steps),
        (ScheduleKind::SgmUniform, _) => spacing::sgm_uniform(noise_model, steps),
        (ScheduleKind::Simple, _) => spacing::simple(noise_model, steps),
        (ScheduleKind::Ddim, _) => spacing::ddim(noise_model, steps),
        _ => return Err(ScheduleError::Kind { kind, convention: Convention::KDiffusion, discretization }),
    };
    Ok(from_sigmas(noise_model, &sigmas, 0.0))
}

/// The schedule of these levels, the last step of which ends at `last`.
pub(super) fn from_sigmas(noise_model: &NoiseModel, sigmas: &[f64], last: f64) -> Schedule {
    let levels = sigmas.iter().map(|sigma| noise_model.level_at(*sigma)).collect();
    Schedule::chain(noise_model, levels, last, sigmas[0])
}
