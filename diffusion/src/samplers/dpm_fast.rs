//! DPM-Solver-fast: Lu et al., "DPM-Solver: a fast ODE solver for diffusion probabilistic model sampling in around 10 steps", 2022. k-diffusion's
//! `sample_dpm_fast`, the webui's `DPM fast`.
//!
//! As many evaluations as there are steps: they are divided into steps of the third order that are evenly long in log sigma, and
//! one or two shorter ones at the end. Of the schedule only the first and the last level count; the last is where it ends.

use super::exponential_steps::{ExponentialStep, PART_OF_SECOND, PART_OF_THIRD, jump, sigma, time};
use super::{FlowMatchingSupport, SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;

/// DPM-Solver-fast. Third order; a step of the run is an evaluation. Noise only if it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DpmFast;

impl Named for DpmFast {
    fn name(&self) -> &'static str {
        "dpm_fast"
    }
}

impl Sampler for DpmFast {
    fn label(&self) -> &'static str {
        "DPM fast"
    }

    fn about(&self) -> &'static str {
        "third order on levels of its own; 15 steps or more"
    }

    fn flow_matching(&self) -> FlowMatchingSupport {
        FlowMatchingSupport::WithoutEta
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let (levels, total) = (run.schedule.levels(), run.schedule.steps());
        let (start, end) = (time(levels[0].sigma), time(levels[total - 1].sigma));
        if start >= end {
            return jump(run);
        }
        let eta = run.eta.unwrap_or(0.0);
        let orders = orders(total);
        let at = |i: usize| start + (end - start) * (i as f64 / orders.len() as f64);
        let mut evaluated = 0;
        for (i, order) in orders.iter().enumerate() {
            let step = ExponentialStep { from: at(i), to: at(i + 1) };
            let (step, noise) = step.ancestral(eta, end);
            let begin = step.begin(run)?;
            let x = match order {
                1 => step.first(run, &begin.noise)?,
                2 => {
                    let within = step.within(run, &begin.noise, PART_OF_SECOND)?;
                    step.second(run, &begin.noise, (&within, PART_OF_SECOND))?
                }
                _ => {
                    let within = step.within(run, &begin.noise, PART_OF_THIRD)?;
                    step.third(run, &begin.noise, &within)?
                }
            };
            *run.x = x;
            run.add_noise(noise)?;
            evaluated += order;
            // What is left of the noise after the last step is too little to see.
            let left = if evaluated == total { 0.0 } else { sigma(at(i + 1)) };
            run.report(evaluated - 1, left, &begin.denoised)?;
        }
        Ok(())
    }
}

/// The orders of the steps that make up so many evaluations.
fn orders(evaluations: usize) -> Vec<usize> {
    let thirds = evaluations / 3;
    match evaluations % 3 {
        // A last step of the second order and one of the first end more gently.
        0 => std::iter::repeat_n(3, thirds - 1).chain([2, 1]).collect(),
        rest => std::iter::repeat_n(3, thirds).chain([rest]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_add_up_to_the_steps() {
        assert_eq!(orders(1), [1]);
        assert_eq!(orders(3), [2, 1]);
        assert_eq!(orders(8), [3, 3, 2]);
        assert_eq!(orders(9), [3, 3, 2, 1]);
        for steps in 1..100 {
            assert_eq!(orders(steps).iter().sum::<usize>(), steps);
        }
    }
}
