//! [`Form::KDiffusion`]: sigmas first.
//!
//! n sigmas run from the largest of the training to the smallest, then 0 follows. Each is given to the model
//! as the time step at which the training's log sigma, linearly interpolated, has that value. The first
//! latents are noise times the first sigma.

use super::{Form, Kind, Schedule, ScheduleError, Training, spacing};

const KINDS: &[Kind] = &[
    Kind::Normal,
    Kind::Karras,
    Kind::Exponential,
    Kind::Polyexponential,
    Kind::SgmUniform,
    Kind::Simple,
    Kind::Ddim,
    Kind::Beta,
    Kind::KlOptimal,
    Kind::AlignYourSteps,
    Kind::AlignYourStepsXl,
];

pub(super) fn schedule(
    training: &Training,
    kind: Kind,
    steps: usize,
    rho: Option<f64>,
) -> Result<Schedule, ScheduleError> {
    let sigmas = match (kind, kind.sigmas()) {
        (_, Some(sigmas)) => sigmas(training, steps, rho),
        (Kind::Normal, _) => spacing::normal(training, steps),
        (Kind::SgmUniform, _) => spacing::sgm_uniform(training, steps),
        (Kind::Simple, _) => spacing::simple(training, steps),
        (Kind::Ddim, _) => spacing::ddim(training, steps),
        _ => return Err(ScheduleError::Kind { kind, form: Form::KDiffusion, known: KINDS }),
    };
    Ok(from_sigmas(training, &sigmas, 0.0))
}

/// The schedule of these levels, the last step of which ends at `last`.
pub(super) fn from_sigmas(training: &Training, sigmas: &[f64], last: f64) -> Schedule {
    let levels = sigmas.iter().map(|sigma| training.level_at(*sigma)).collect();
    Schedule::chain(training, levels, last, sigmas[0])
}
