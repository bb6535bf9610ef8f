//! iPNDM for uneven levels: as [`super::Ipndm`], with weights that follow from the lengths of the last steps. ComfyUI's `ipndm_v`,
//! which has it from the solvers of the toolbox diff-sampler.
//!
//! The weights are kept as those programs have them, so that images come out the same. Up to the third order they are those of Adams
//! and Bashforth where levels are even, and at any lengths the second order is exact; the correction of the fourth order is larger
//! than theirs.

use super::history::History;
use super::ipndm::adams_bashforth;
use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;

/// Slopes that count in a step.
const MAX_ORDER: usize = 4;

/// iPNDM with weights for uneven levels. One evaluation a step, no noise added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpndmV;

impl Named for IpndmV {
    fn name(&self) -> &'static str {
        "ipndm_v"
    }
}

impl Sampler for IpndmV {
    fn label(&self) -> &'static str {
        "iPNDM v"
    }

    fn about(&self) -> &'static str {
        "iPNDM with weights that follow the spacing of the levels"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let mut slopes = History::new(MAX_ORDER);
        for i in 0..run.schedule.steps() {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            slopes.push(from, sum(&[(from.recip(), &*run.x), (-from.recip(), &denoised)])?);
            if to > 0.0 {
                // The length of this step, and of those before it.
                let levels = (0..slopes.len()).map(|age| slopes.sigma(age));
                let points: Vec<f64> = std::iter::once(to).chain(levels).collect();
                let lengths: Vec<f64> = points.windows(2).map(|pair| pair[0] - pair[1]).collect();
                let weights: Vec<f64> = weights(&lengths).iter().map(|weight| lengths[0] * weight).collect();
                run.advance(1.0, &slopes.weighted(&weights))?;
            } else {
                run.set(&[(1.0, &denoised)])?;
            }
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}

/// Weights of the last slopes, newest first, for a step of length `h[0]` after steps of the lengths that follow.
///
/// They are sums of differences: the newest slope, and corrections by the second, third and fourth order.
fn weights(h: &[f64]) -> Vec<f64> {
    if h.len() == 1 {
        return adams_bashforth(1).to_vec();
    }
    let mut weights = vec![0.0; h.len()];
    let mut correct = |amount: f64, difference: &[f64]| {
        for (weight, part) in weights.iter_mut().zip(difference) {
            *weight += amount * part;
        }
    };
    let r1 = h[0] / h[1];
    correct(1.0, &[1.0 + r1 / 2.0, -r1 / 2.0]);
    if let [h0, h1, h2, ..] = *h {
        // On even levels 5/12.
        let amount = (1.0 - h0 / (3.0 * (h0 + h1)) * (h0 * (h0 + h1)) / (h1 * (h1 + h2))) / 2.0;
        correct(amount, &[1.0, -1.0 - h1 / h2, h1 / h2]);
    }
    if let [h0, h1, h2, h3] = *h {
        // On even levels 11/24, where Adams and Bashforth have 9/24.
        let near = (1.0 - h0 / (3.0 * (h0 + h1))) / 2.0;
        let far = (1.0 - h0 / (2.0 * (h0 + h1))) * h0 / (6.0 * (h0 + h1 + h2));
        let lengths = h0 * (h0 + h1) * (h0 + h1 + h2) / (h1 * (h1 + h2) * (h1 + h2 + h3));
        let ratio = h1 * (h1 + h2) / (h2 * (h2 + h3));
        let older = h1 / h2;
        correct(
            (near + far) * lengths,
            &[1.0, -1.0 - older - ratio, older + ratio * (1.0 + h2 / h3), -ratio * older],
        );
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_even_levels_the_weights_are_those_of_adams_and_bashforth() {
        for order in 1..=3 {
            let got = weights(&vec![-0.3; order]);
            let off = got.iter().zip(adams_bashforth(order)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(got.len() == order && off < 1e-12, "{order} {got:?}");
        }
    }

    /// A slope that does not change is followed exactly at any lengths, and so is one that changes evenly.
    #[test]
    fn on_uneven_levels_the_second_order_is_exact() {
        let h = [-0.2, -0.5, -0.9, -1.4];
        for order in 2..=3 {
            let weights = weights(&h[..order]);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let (mut at, mut moment) = (0.0, 0.0);
            for (weight, length) in weights.iter().zip(&h[1..]) {
                moment += weight * at;
                at -= length;
            }
            // The mean of the slope over the step, which is half of its length on.
            assert!((moment - h[0] / 2.0).abs() < 1e-12, "{order} {moment}");
        }
    }
}
