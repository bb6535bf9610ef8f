//! DEIS: Zhang and Chen, "Fast sampling of diffusion models with exponential integrator", 2023, the multistep method of section 3.4
//! ("log rho" in diffusers' `DEISMultistepScheduler`).
//!
//! A polynomial in log sigma goes through the noise (x - D) / sigma of the last levels, and is integrated over the step in sigma.
//! With y = log(sigma / sigma of this level) the integrals of 1, y and y^2 are known, and the weights are those for which the
//! polynomials come out right. A step to 0 takes the estimate alone.

use super::history::{History, order_at_end};
use super::noise_ratios::in_noise_ratios;
use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;

/// DEIS. One evaluation a step, no noise added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deis {
    /// Levels that count in a step, 1 to 3.
    pub order: usize,
}

impl Deis {
    /// Order 2, diffusers' usual.
    pub const USUAL: Self = Self { order: 2 };
}

impl Named for Deis {
    fn name(&self) -> &'static str {
        "deis"
    }
}

impl Sampler for Deis {
    fn label(&self) -> &'static str {
        "DEIS"
    }

    fn about(&self) -> &'static str {
        "much as DPM++ 2M; good from 10 to 20 steps"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Deis
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        in_noise_ratios(run, |run| self.solve(run))
    }
}

impl Deis {
    fn solve(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let total = run.schedule.steps();
        let mut noises = History::new(self.order);
        for i in 0..total {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            noises.push(from, sum(&[(from.recip(), &*run.x), (-from.recip(), &denoised)])?);
            if to <= 0.0 {
                run.set(&[(1.0, &denoised)])?;
            } else if to < from {
                let order = order_at_end(self.order, total - i, total).min(noises.len());
                let before: Vec<f64> = (1..order).map(|age| (noises.sigma(age) / from).ln()).collect();
                run.advance(1.0, &noises.weighted(&weights(from, to, &before)))?;
            }
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}

/// Weights of the noise at this level and at those `before`, given by their y.
fn weights(from: f64, to: f64, before: &[f64]) -> Vec<f64> {
    let end = (to / from).ln();
    let zeroth = to - from;
    let first = to * (end - 1.0) + from;
    match *before {
        [] => vec![zeroth],
        [y] => vec![zeroth - first / y, first / y],
        [y, z, ..] => {
            let second = to * (end * end - 2.0 * end + 2.0) - 2.0 * from;
            let near = (second - z * first) / (y * (y - z));
            let far = (second - y * first) / (z * (z - y));
            vec![zeroth - near - far, near, far]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_in_log_sigma_are_integrated_exactly() {
        let (from, to, before) = (3.0_f64, 1.2_f64, [0.7_f64, 1.5]);
        let polynomial = |y: f64| 0.5 - 2.0 * y + 0.75 * y * y;
        let parts = 100_000;
        let width = (to - from) / f64::from(parts);
        let want: f64 =
            (0..parts).map(|i| polynomial(((from + (f64::from(i) + 0.5) * width) / from).ln()) * width).sum();
        let values = [polynomial(0.0), polynomial(before[0]), polynomial(before[1])];
        let got: f64 = weights(from, to, &before).iter().zip(values).map(|(w, v)| w * v).sum();
        assert!((got - want).abs() < 1e-8, "{got} {want}");
    }
}
