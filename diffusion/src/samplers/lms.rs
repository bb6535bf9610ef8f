//! The linear multistep method for uneven steps: Adams and Bashforth's of order 4, as k-diffusion's `sample_lms` has it. diffusers'
//! `LMSDiscreteScheduler`.
//!
//! A polynomial in sigma goes through the slopes (x - D) / sigma of the last four levels, and is integrated over the step.

use super::history::History;
use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;

/// The linear multistep method. One evaluation a step, no noise added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lms {
    /// Slopes that count in a step, 1 to 4.
    pub order: usize,
}

impl Lms {
    /// Order 4, the usual.
    pub const USUAL: Self = Self { order: 4 };
}

impl Named for Lms {
    fn name(&self) -> &'static str {
        "lms"
    }
}

impl Sampler for Lms {
    fn label(&self) -> &'static str {
        "LMS"
    }

    fn about(&self) -> &'static str {
        "old and smooth; 30 steps and more, with normal levels"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let mut slopes = History::new(self.order);
        for i in 0..run.schedule.steps() {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            slopes.push(from, sum(&[(from.recip(), &*run.x), (-from.recip(), &denoised)])?);
            let nodes: Vec<f64> = (0..slopes.len()).map(|age| slopes.sigma(age)).collect();
            let weights: Vec<f64> = (0..nodes.len()).map(|j| integral(&nodes, j, from, to)).collect();
            run.advance(1.0, &slopes.weighted(&weights))?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}

/// The integral from `from` to `to` of the polynomial that is 1 at node `j` and 0 at the others: by the rule of Gauss with two
/// points, which is exact for the third degree and below.
fn integral(nodes: &[f64], j: usize, from: f64, to: f64) -> f64 {
    let (middle, half) = ((from + to) / 2.0, (to - from) / 2.0);
    let at = |x: f64| -> f64 {
        nodes
            .iter()
            .enumerate()
            .filter(|(k, _)| *k != j)
            .map(|(_, node)| (x - node) / (nodes[j] - node))
            .product()
    };
    let offset = half / 3.0_f64.sqrt();
    half * (at(middle - offset) + at(middle + offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_nodes_give_the_formula_of_adams_and_bashforth() {
        let nodes = [3.0, 2.0, 1.0, 0.0];
        let got: Vec<f64> = (0..4).map(|j| integral(&nodes, j, 3.0, 4.0)).collect();
        for (got, want) in got.iter().zip([55.0, -59.0, 37.0, -9.0]) {
            assert!((got - want / 24.0).abs() < 1e-12);
        }
    }
}
