//! Restart sampling: Xu et al., "Restart sampling for improving generative processes", 2023. The webui's `Restart`.
//!
//! Heun's method, and near the end, where little noise is left, back up to a level with much more and down again: fresh noise
//! contracts the errors that the steps so far have gathered. Of the steps a part goes to the way down again, once or twice; runs
//! of fewer than 20 steps have none to spare and are Heun's alone.
//!
//! The levels of the way down follow Karras' spacing, as in the webui. A flow's are those of its own schedule, of which every
//! few are left out, as its shift is in them; the way down again is even.

use super::heun::heun_step;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Discretization, NoiseLevel, NoiseModel, Schedule, ScheduleKind};

/// The level from which the way goes back up, and the level up to which it goes, in ratios of noise to signal.
const RESTART_AT: f64 = 0.1;
const RESTART_FROM: f64 = 2.0;
/// Steps of a run from which on there is a restart, and from which on there are two.
const MIN_STEPS: usize = 20;
const MIN_STEPS_FOR_TWO: usize = 36;
/// Steps of the only restart; two of them take a quarter of the steps each.
const RESTART_STEPS: usize = 9;
/// Exponent of Karras' spacing.
const RHO: f64 = 7.0;

/// Restart sampling. Second order, two evaluations a step, noise added at each restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart;

impl Named for Restart {
    fn name(&self) -> &'static str {
        "restart"
    }
}

impl Sampler for Restart {
    fn label(&self) -> &'static str {
        "Restart"
    }

    fn about(&self) -> &'static str {
        "Heun that goes back to some noise near the end; from 20 steps on"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn default_kind(&self) -> ScheduleKind {
        ScheduleKind::Karras
    }

    fn evaluations(&self) -> usize {
        2
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let mut left = f64::INFINITY;
        for (i, (level, to)) in steps(run.schedule).into_iter().enumerate() {
            if level.sigma > left {
                run.add_noise_up(left, level.sigma)?;
            }
            let denoised = run.denoise_level(level)?;
            heun_step(run, &denoised, (level.sigma, to))?;
            run.report(i, to.sigma, &denoised)?;
            left = to.sigma;
        }
        Ok(())
    }
}

/// Where each step begins and ends. A step that begins above the end of the one before it begins with fresh noise.
fn steps(schedule: &Schedule) -> Vec<(NoiseLevel, NoiseLevel)> {
    let (model, total) = (schedule.noise_model(), schedule.steps());
    let end = |sigma: f64| model.level_at(sigma);
    let (levels, targets) = (schedule.levels(), schedule.targets());
    if total < MIN_STEPS {
        let ends = levels.iter().skip(1).copied().chain([end(targets[total - 1])]);
        return levels.iter().copied().zip(ends).collect();
    }
    let (each, times) = if total >= MIN_STEPS_FOR_TWO { (total / 4, 2) } else { (RESTART_STEPS, 1) };
    let count = total - each * times;
    let is_flow = matches!(model, NoiseModel::FlowMatching(_));
    let mut sigmas = if is_flow {
        thinned(levels, count)
    } else {
        falling(levels[total - 1].sigma, levels[0].sigma, count, RHO)
    };
    sigmas.push(0.0);
    let nearest = |to: f64| {
        let off = |i: &usize| (sigmas[*i] - to).abs();
        (0..sigmas.len()).min_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(0)
    };
    let [low, high] = [RESTART_AT, RESTART_FROM].map(|ratio| nearest(model.sigma_of_ratio(ratio)));
    let mut steps = Vec::new();
    let mut down = |sigmas: &[f64]| steps.extend(sigmas.windows(2).map(|pair| (end(pair[0]), end(pair[1]))));
    down(&sigmas[..=low]);
    if high < low {
        let again = falling(sigmas[low], sigmas[high], each + 1, if is_flow { 1.0 } else { RHO });
        (0..times).for_each(|_| down(&again));
    }
    down(&sigmas[low..]);
    steps
}

/// So many levels, spaced as those of a schedule are.
fn thinned(levels: &[NoiseLevel], count: usize) -> Vec<f64> {
    let last = levels.len() - 1;
    let at = |i: usize| {
        let place = (last * i) as f64 / count.saturating_sub(1).max(1) as f64;
        let (whole, part) = ((place as usize).min(last), place.fract());
        (1.0 - part) * levels[whole].sigma + part * levels[(whole + 1).min(last)].sigma
    };
    (0..count).map(at).collect()
}

/// Levels evenly in sigma^(1/rho) from high to low, both ends included.
fn falling(low: f64, high: f64, count: usize, rho: f64) -> Vec<f64> {
    let [low, high] = [low, high].map(|sigma| sigma.powf(rho.recip()));
    let intervals = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|i| (high + (low - high) * (i as f64 / intervals)).powf(rho)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Convention;

    /// As many steps as were asked for, on levels that the webui's sampler has too.
    #[test]
    fn restarts_take_a_part_of_the_steps() {
        for (total, ups) in [(5, 0), (19, 0), (20, 1), (35, 1), (36, 2), (50, 2)] {
            let (model, kind) = (NoiseModel::scaled_linear(), ScheduleKind::Karras);
            let schedule =
                Schedule::new(&model, Convention::KDiffusion, kind, Discretization::Euler, total).unwrap();
            let steps = steps(&schedule);
            assert_eq!(steps.len(), total);
            assert!((steps[0].0.sigma - schedule.levels()[0].sigma).abs() < 1e-9);
            assert_eq!(steps[total - 1].1.sigma, 0.0);
            let begun = steps.windows(2).filter(|pair| pair[1].0.sigma > pair[0].1.sigma);
            assert_eq!(begun.count(), ups, "{total}");
        }
    }
}
