//! ER-SDE: Cui et al., "Elucidating the solution space of extended reverse-time SDE for diffusion models", 2023, algorithm 1
//! ("ER-SDE-Solver-3"). ComfyUI's `er_sde`.
//!
//! The reverse equation with any amount of noise at each level has a family of exact solutions, one for each function phi of sigma that
//! rises at least as fast as sigma. With r = phi(sigma') / phi(sigma), D' and D'' the slope and the curvature of D in sigma, and d =
//! sigma' - sigma:
//!
//! x' = r x + (1 - r) D + (d + phi(sigma') A) D' + (d^2 / 2 + phi(sigma') B) D'' + sqrt(sigma'^2 - r^2 sigma^2) n
//!
//! A and B are the integrals from sigma' to sigma of 1 / phi(s) and (s - sigma) / phi(s). phi is the paper's best, s (exp(s^0.3) + 10),
//! whose second factor has the power eta here: 0 leaves phi(s) = s, the equation without noise.

use super::history::History;
use super::noise_ratios::in_noise_ratios;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;

/// The usual amount of noise: the paper's.
const DEFAULT_ETA: f64 = 1.0;
/// Levels that count in a step.
const STAGES: usize = 3;
/// Parts of the integrals by Simpson's rule in log sigma, where their functions are smooth; even.
const PARTS: u32 = 32;

/// ER-SDE-Solver-3. One evaluation a step, noise in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErSde;

impl Named for ErSde {
    fn name(&self) -> &'static str {
        "er_sde"
    }
}

impl Sampler for ErSde {
    fn label(&self) -> &'static str {
        "ER SDE"
    }

    fn about(&self) -> &'static str {
        "noise where it helps and little elsewhere; detailed from 15 steps"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        in_noise_ratios(run, |run| self.solve(run))
    }
}

impl ErSde {
    fn solve(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let eta = run.eta.unwrap_or(DEFAULT_ETA);
        let phi = |s: f64| s * (s.powf(0.3).exp() + 10.0).powf(eta);
        let mut history = History::new(STAGES);
        for i in 0..run.schedule.steps() {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            history.push(from, denoised.clone());
            if to <= 0.0 {
                run.set(&[(1.0, &denoised)])?;
            } else if to < from {
                let ratio = phi(to) / phi(from);
                let step = to - from;
                let slope = step + phi(to) * integral(to, from, |s| s / phi(s));
                let curve = step * step / 2.0 + phi(to) * integral(to, from, |s| s * (s - from) / phi(s));
                let nodes: Vec<f64> = (0..history.len()).map(|age| history.sigma(age)).collect();
                run.advance(ratio, &history.weighted(&weights(1.0 - ratio, slope, curve, &nodes)))?;
                run.add_noise((to * to - (ratio * from).powi(2)).max(0.0).sqrt())?;
            }
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}

/// Weights of the newest estimates, from those of the newest, of the slope and of the curvature, which are differences.
fn weights(newest: f64, slope: f64, curve: f64, nodes: &[f64]) -> Vec<f64> {
    match *nodes {
        [a, b, c, ..] => {
            let curve = 2.0 * curve / (a - c);
            let (near, far) = ((slope + curve) / (a - b), -curve / (b - c));
            vec![newest + near, far - near, -far]
        }
        [a, b] => vec![newest + slope / (a - b), -slope / (a - b)],
        _ => vec![newest],
    }
}

/// The integral of f(s) / s from `low` to `high`: of f in log s.
fn integral(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let width = (high / low).ln() / f64::from(PARTS);
    let at = |i: u32| {
        let weight = if i == 0 || i == PARTS { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
        weight * f(low * (width * f64::from(i)).exp())
    };
    (0..=PARTS).map(at).sum::<f64>() * width / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrals_of_known_functions() {
        assert!((integral(0.5, 2.0, |_| 1.0) - 4.0_f64.ln()).abs() < 1e-12);
        assert!((integral(0.5, 2.0, |s| s) - 1.5).abs() < 1e-6);
        assert!((integral(0.03, 14.6, |s| s * s) / (14.6_f64.powi(2) / 2.0) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn weights_see_slope_and_curvature() {
        let nodes = [1.0, 1.5, 2.0];
        let weigh = |values: [f64; 3]| -> f64 {
            weights(0.25, 0.5, 0.125, &nodes).iter().zip(values).map(|(w, v)| w * v).sum()
        };
        assert!((weigh([1.0; 3]) - 0.25).abs() < 1e-12);
        assert!((weigh([0.0, 0.5, 1.0]) - 0.5).abs() < 1e-12);
    }
}
