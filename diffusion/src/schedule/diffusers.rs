//! [`Form::Diffusers`]: time steps first, as the scheduler classes of diffusers 0.42 lay them out.
//!
//! The classes differ in details that show in the picture; the grids of this file are those details:
//!
//! | grid | time steps | latents start at noise times |
//! |---|---|---|
//! | Euler | n points, fractions kept | first sigma; leading: sqrt(sigma^2 + 1) |
//! | DPM-Solver | n + 1 points, the last dropped; rounded | sqrt(sigma^2 + 1) |
//! | DDIM | n points, rounded | sqrt(sigma^2 + 1) |
//!
//! Sigma at a fractional time step is interpolated linearly in sigma. Karras and exponential spacing go the
//! other way, from sigma to the time step: the Euler grid keeps its fractions, DPM-Solver's rounds it
//! (karras) or cuts it off (exponential).
//!
//! DDIM has a rule of its own for where a step ends: at the time step 1000/n (rounded down) below, whatever
//! the next one is, or at time step 0 if that is negative (`set_alpha_to_one = false`, as in all Stable
//! Diffusion folders).

use super::{Form, Grid, Kind, Level, Schedule, ScheduleError, Training, exponential, karras};

/// What is added to the time steps of the leading spacing; 1 in all Stable Diffusion folders.
const STEPS_OFFSET: usize = 1;

/// In diffusers' f32 the first sigma of the exponential spacing falls short of its whole time step by some
/// 1e-5, which cuts 999 down to 998. Subtracting this before the cut gives the same.
const F32_SHORTFALL: f64 = 1e-5;

const TIME_KINDS: &[Kind] = &[Kind::Normal, Kind::Leading, Kind::Linspace, Kind::Trailing];

pub(super) fn schedule(
    training: &Training,
    kind: Kind,
    grid: Grid,
    steps: usize,
) -> Result<Schedule, ScheduleError> {
    match grid {
        Grid::Euler => euler(training, kind, steps),
        Grid::DpmSolver => dpm_solver(training, kind, steps),
        Grid::Ddim => ddim(training, kind, steps),
    }
}

fn euler(training: &Training, kind: Kind, steps: usize) -> Result<Schedule, ScheduleError> {
    let (min, max) = training.sigma_range();
    let from_sigma = |sigma| Level { sigma, timestep: training.timestep_at(sigma) };
    let levels: Vec<Level> = match kind {
        Kind::Karras => karras(min, max, steps).map(from_sigma).collect(),
        Kind::Exponential => exponential(min, max, steps).map(from_sigma).collect(),
        Kind::Normal | Kind::Leading => at_timesteps(training, leading(training, steps, steps)?),
        Kind::Linspace => at_timesteps(training, linspace(training, steps, steps)),
        Kind::Trailing => at_timesteps(training, trailing(training, steps)),
    };
    let first = levels[0].sigma;
    let leads = matches!(kind, Kind::Normal | Kind::Leading);
    let initial_scale = if leads { first.hypot(1.0) } else { first };
    Ok(Schedule::chain(levels, 0.0, initial_scale))
}

fn dpm_solver(training: &Training, kind: Kind, steps: usize) -> Result<Schedule, ScheduleError> {
    let (min, max) = training.sigma_range();
    let levels: Vec<Level> = match kind {
        Kind::Karras => karras(min, max, steps)
            .map(|sigma| Level { sigma, timestep: training.timestep_at(sigma).round_ties_even() })
            .collect(),
        Kind::Exponential => exponential(min, max, steps)
            .map(|sigma| (sigma, (training.timestep_at(sigma) - F32_SHORTFALL).max(0.0)))
            .map(|(sigma, t)| Level { sigma, timestep: t.floor() })
            .collect(),
        Kind::Normal | Kind::Leading => at_timesteps(training, leading(training, steps, steps + 1)?),
        Kind::Linspace => {
            at_timesteps(training, linspace(training, steps, steps + 1).map(f64::round_ties_even))
        }
        Kind::Trailing => at_timesteps(training, trailing(training, steps)),
    };
    let initial_scale = levels[0].sigma.hypot(1.0);
    Ok(Schedule::chain(levels, 0.0, initial_scale))
}

fn ddim(training: &Training, kind: Kind, steps: usize) -> Result<Schedule, ScheduleError> {
    let levels = match kind {
        Kind::Normal | Kind::Leading => at_timesteps(training, leading(training, steps, steps)?),
        Kind::Linspace => at_timesteps(training, linspace(training, steps, steps).map(f64::round_ties_even)),
        Kind::Trailing => at_timesteps(training, trailing(training, steps)),
        Kind::Karras | Kind::Exponential => {
            return Err(ScheduleError::Kind { kind, form: Form::Diffusers, known: TIME_KINDS });
        }
    };
    let stride = (training.sigmas().len() / steps) as f64;
    // A negative time step is clamped to 0, whose level is also the one that all runs end at.
    let targets = levels.iter().map(|level| training.sigma_at(level.timestep - stride)).collect();
    let initial_scale = levels[0].sigma.hypot(1.0);
    Ok(Schedule { levels, targets, initial_scale })
}

fn at_timesteps(training: &Training, timesteps: impl Iterator<Item = f64>) -> Vec<Level> {
    timesteps.map(|timestep| Level { sigma: training.sigma_at(timestep), timestep }).collect()
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
/// does: whether a half is rounded up or down hangs on it. (Of one point numpy takes the 0, from which no
/// picture comes; here it is 999.)
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
