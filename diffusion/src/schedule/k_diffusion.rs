//! [`Form::KDiffusion`]: sigmas first.
//!
//! n sigmas run from the largest of the training to the smallest, then 0 follows. Each is given to the model
//! as the time step at which the training's log sigma, linearly interpolated, has that value. The first
//! latents are noise times the first sigma.

use super::{Form, Kind, Level, Schedule, ScheduleError, Training, exponential, karras, ramp};

const KINDS: &[Kind] = &[Kind::Normal, Kind::Karras, Kind::Exponential];

pub(super) fn schedule(training: &Training, kind: Kind, steps: usize) -> Result<Schedule, ScheduleError> {
    let (min, max) = training.sigma_range();
    let sigmas: Vec<f64> = match kind {
        Kind::Normal => {
            ramp(training.last_timestep(), 0.0, steps).map(|t| training.log_linear_sigma_at(t)).collect()
        }
        Kind::Karras => karras(min, max, steps).collect(),
        Kind::Exponential => exponential(min, max, steps).collect(),
        Kind::Leading | Kind::Linspace | Kind::Trailing => {
            return Err(ScheduleError::Kind { kind, form: Form::KDiffusion, known: KINDS });
        }
    };
    let levels: Vec<Level> =
        sigmas.into_iter().map(|sigma| Level { sigma, timestep: training.timestep_at(sigma) }).collect();
    let initial_scale = levels[0].sigma;
    Ok(Schedule::chain(levels, 0.0, initial_scale))
}
