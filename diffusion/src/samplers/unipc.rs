//! UniPC: Zhao et al., "UniPC: a unified predictor-corrector framework for fast sampling of diffusion models", 2023, algorithms 5 and 6 for
//! the estimate of the image. diffusers' `UniPCMultistepScheduler`.
//!
//! Each evaluation is used twice: first to correct the step that led to it, then to predict the next. With h the length of a step in
//! lambda = -log sigma, D the estimate at its beginning, and the differences (D_k - D) / r_k to other levels, each r_k lengths of the step
//! away:
//!
//! x' = e^-h x + (1 - e^-h) D - B(h) sum rho_k (D_k - D) / r_k
//!
//! rho is what makes the orders come out right (equation 5 of the paper). The corrector counts the estimate at the end of the step among
//! the D_k, with r = 1, which makes it an order better than the predictor. B(h) is -h ("bh1") or e^-h - 1 ("bh2").

use super::history::{History, order_at_end};
use super::noise_ratios::in_noise_ratios;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;
use latent_tensor::Tensor;

/// The function B of the paper, appendix A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UniPcVariant {
    /// -h.
    Bh1,
    /// e^-h - 1: the usual.
    Bh2,
}

/// UniPC. One evaluation a step, no noise added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniPc {
    /// Order of the predictor, 1 to 3; the corrector's is one more.
    pub order: usize,
    /// The function B.
    pub variant: UniPcVariant,
}

impl UniPc {
    /// Order 2 and bh2, diffusers' usual.
    pub const USUAL: Self = Self { order: 2, variant: UniPcVariant::Bh2 };

    /// -B(h) rho_k / r_k for each of `ratios`, the r_k. `by_rule` takes 1/2 for rho where there is one level alone, as the paper does.
    fn weights(&self, h: f64, ratios: &[f64], by_rule: bool) -> Vec<f64> {
        let scale = match self.variant {
            UniPcVariant::Bh1 => -h,
            UniPcVariant::Bh2 => (-h).exp_m1(),
        };
        let rho = if by_rule && ratios.len() == 1 {
            vec![0.5]
        } else {
            let mut phi = (-h).exp_m1() / -h - 1.0;
            let mut factorial = 1.0;
            let mut right = Vec::new();
            for i in 1..=ratios.len() {
                right.push(phi * factorial / scale);
                factorial *= (i + 1) as f64;
                phi = phi / -h - factorial.recip();
            }
            let row = |power: usize| ratios.iter().map(|r| r.powi(power as i32)).collect();
            solve((0..ratios.len()).map(row).collect(), right)
        };
        rho.iter().zip(ratios).map(|(rho, ratio)| -scale * rho / ratio).collect()
    }

    /// One step from latents `x` at the newest level of `history`. `end` is the estimate at its end, for the corrector.
    fn step(
        &self,
        x: &Tensor,
        to: f64,
        order: usize,
        history: &History,
        end: Option<&Tensor>,
    ) -> Result<Tensor, SampleError> {
        let from = history.sigma(0);
        let h = (from / to).ln();
        let mut ratios: Vec<f64> =
            (1..order.min(history.len())).map(|age| (from / history.sigma(age)).ln() / h).collect();
        let mut values: Vec<&Tensor> = (1..=ratios.len()).map(|age| history.values(age)).collect();
        if let Some(end) = end {
            ratios.push(1.0);
            values.push(end);
        }
        let by_rule = end.is_none() || order == 1;
        let weights = if ratios.is_empty() { Vec::new() } else { self.weights(h, &ratios, by_rule) };
        let newest = -(-h).exp_m1() - weights.iter().sum::<f64>();
        let mut terms = vec![(to / from, x), (newest, history.values(0))];
        terms.extend(weights.into_iter().zip(values));
        super::run::sum(&terms)
    }
}

/// The solution of a small system of equations by elimination, row by row with the largest pivot.
fn solve(mut rows: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for column in 0..n {
        let size = |row: &usize| rows[*row][column].abs();
        let pivot = (column..n).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap_or(column);
        rows.swap(column, pivot);
        right.swap(column, pivot);
        for row in 0..n {
            if row != column {
                let factor = rows[row][column] / rows[column][column];
                let pivot = rows[column].clone();
                rows[row].iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
                right[row] -= factor * right[column];
            }
        }
    }
    (0..n).map(|i| right[i] / rows[i][i]).collect()
}

impl Named for UniPc {
    fn name(&self) -> &'static str {
        "unipc"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["uni_pc_bh2"]
    }
}

impl Sampler for UniPc {
    fn label(&self) -> &'static str {
        "UniPC"
    }

    fn about(&self) -> &'static str {
        "the closest to the exact solution at 8 to 15 steps"
    }

    fn discretization(&self) -> Discretization {
        Discretization::DpmSolver
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        in_noise_ratios(run, |run| self.solve(run))
    }
}

impl UniPc {
    fn solve(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let total = run.schedule.steps();
        let mut history = History::new(self.order);
        // Where the step before began, and its order.
        let mut before: Option<(Tensor, usize)> = None;
        for i in 0..total {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            if let Some((x, order)) = before.take().filter(|_| history.sigma(0) > from) {
                let corrected = self.step(&x, from, order, &history, Some(&denoised))?;
                *run.x = corrected;
            }
            history.push(from, denoised.clone());
            let x = run.x.clone();
            // The last steps are of lower order whatever their number is.
            let order = order_at_end(self.order, total - i, 0).min(history.len());
            if to <= 0.0 {
                run.set(&[(1.0, &denoised)])?;
            } else if to < from {
                let predicted = self.step(&x, to, order, &history, None)?;
                *run.x = predicted;
            }
            before = Some((x, order));
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samplers::tests::latents;

    #[test]
    fn small_systems_are_solved() {
        assert_eq!(solve(vec![vec![0.0, 2.0], vec![4.0, 1.0]], vec![6.0, 11.0]), [2.0, 3.0]);
    }

    /// With D a straight line in lambda, a step that knows two levels is exact: x' = e^-h x + the integral of e^(l - h) D(l).
    #[test]
    fn the_corrector_integrates_a_line_exactly() {
        let line = |lambda: f64| 0.5 + 0.3 * lambda;
        let h: f64 = 0.8;
        let mut history = History::new(2);
        history.push(2.0, latents(1, &[line(0.0) as f32]));
        for variant in [UniPcVariant::Bh1, UniPcVariant::Bh2] {
            let solver = UniPc { order: 2, variant };
            let end = latents(1, &[line(h) as f32]);
            let x = latents(1, &[1.0]);
            let got = solver.step(&x, 2.0 * (-h).exp(), 2, &history, Some(&end)).unwrap();
            let got = got.f32s().unwrap();
            let want = (-h).exp() + 0.5 * (1.0 - (-h).exp()) + 0.3 * (h - 1.0 + (-h).exp());
            assert!((f64::from(got[0]) - want).abs() < 1e-6, "{variant:?} {got:?} {want}");
        }
    }
}
