//! PLMS: Liu et al., "Pseudo numerical methods for diffusion models on manifolds", 2022: algorithm 2 (PLMS) and the Runge-Kutta start of
//! algorithm 1. diffusers' `PNDMScheduler`, and the sampler of the first Stable Diffusion.
//!
//! The slope, which is the noise (x - D) / sigma, is extrapolated by the formulas of Adams and Bashforth for even steps up to the fourth
//! order, and the step itself is DDIM's, so that time steps are what is even: [`Discretization::Ddim`]. There are two ways to begin. The usual:
//! take the first step once to see the slope at its end, and again along the mean of both. The other, in [`Plms::start`]: three steps of
//! Runge and Kutta, four evaluations each.

use super::history::History;
use super::ipndm::adams_bashforth;
use super::run::sum;
use super::{FlowMatchingSupport, Prediction, SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Convention, Discretization, NoiseLevel};
use latent_tensor::Tensor;

/// Slopes that count in a step.
const MAX_ORDER: usize = 4;
/// Steps of the start by Runge and Kutta.
const RUNGE_KUTTA_STEPS: usize = 3;

/// How the first steps are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlmsStart {
    /// The first step twice.
    Twice,
    /// Three steps with four evaluations each.
    RungeKutta,
}

/// PLMS. One evaluation a step and one more, no noise added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plms {
    /// How the first steps are taken.
    pub start: PlmsStart,
    /// What is extrapolated: the noise, or the velocity, as diffusers does for networks that predict it.
    pub extrapolated: Prediction,
}

impl Plms {
    /// What the web UI has, and diffusers for networks that predict noise.
    pub const USUAL: Self = Self { start: PlmsStart::Twice, extrapolated: Prediction::Epsilon };

    /// What is extrapolated, for latents `x` and an estimate at a level.
    fn slope(&self, x: &Tensor, denoised: &Tensor, sigma: f64) -> Result<Tensor, SampleError> {
        match self.extrapolated {
            Prediction::Epsilon => sum(&[(sigma.recip(), x), (-sigma.recip(), denoised)]),
            Prediction::V => {
                let scale = sigma.hypot(1.0);
                sum(&[((sigma * scale).recip(), x), (-(sigma.recip() + sigma) / scale, denoised)])
            }
        }
    }

    /// Where latents `x` at the level `from` are at `to`, along a mix of slopes.
    fn go(&self, x: &Tensor, from: f64, to: f64, slopes: &[(f64, &Tensor)]) -> Result<Tensor, SampleError> {
        let slope = sum(slopes)?;
        let (of_x, of_slope) = match self.extrapolated {
            Prediction::Epsilon => (0.0, 1.0),
            Prediction::V => {
                let scale = from.hypot(1.0);
                (from / (scale * scale), scale.recip())
            }
        };
        sum(&[(1.0 + (to - from) * of_x, x), ((to - from) * of_slope, &slope)])
    }

    /// The step from `from` to the level `to` by the method of Runge and Kutta, from the slope at its beginning.
    fn runge_kutta(
        &self,
        run: &mut SamplingRun<'_>,
        index: usize,
        first: &Tensor,
        to: NoiseLevel,
    ) -> Result<Tensor, SampleError> {
        let from = run.schedule.levels()[index];
        // diffusers goes half of the way down from the time step above, and gives the model the one half of the way up.
        let half = ((from.timestep - to.timestep) / 2.0).floor();
        let given = to.timestep + half;
        let noise_model = run.schedule.noise_model();
        let above = NoiseLevel { sigma: noise_model.sigma_at(from.timestep - half), timestep: given };
        let below = NoiseLevel { sigma: noise_model.sigma_at(given), timestep: given };
        let x = run.x.clone();
        let mut slopes = vec![first.clone()];
        for level in [above, below, to] {
            let there = self.go(&x, from.sigma, level.sigma, &[(1.0, slopes.last().unwrap_or(first))])?;
            let denoised = run.model.denoise(&there, level)?;
            slopes.push(self.slope(&there, &denoised, level.sigma)?);
        }
        let weights = [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0];
        let terms: Vec<(f64, &Tensor)> = weights.into_iter().zip(&slopes).collect();
        self.go(&x, from.sigma, to.sigma, &terms)
    }
}

impl Named for Plms {
    fn name(&self) -> &'static str {
        "plms"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["pndm"]
    }
}

impl Sampler for Plms {
    fn label(&self) -> &'static str {
        "PLMS"
    }

    fn about(&self) -> &'static str {
        "the first Stable Diffusion's own; 30 to 50 steps"
    }

    fn flow_matching(&self) -> FlowMatchingSupport {
        FlowMatchingSupport::None
    }

    fn discretization(&self) -> Discretization {
        Discretization::Ddim
    }

    fn default_convention(&self) -> Convention {
        Convention::Diffusers
    }

    fn evaluations(&self) -> usize {
        if self.start == PlmsStart::RungeKutta { 4 } else { 1 }
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let mut slopes = History::new(MAX_ORDER);
        let steps = run.schedule.steps();
        for i in 0..steps {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            slopes.push(from, self.slope(run.x, &denoised, from)?);
            let last = i + 1 == steps;
            let x = if self.start == PlmsStart::RungeKutta && i < RUNGE_KUTTA_STEPS && !last {
                self.runge_kutta(run, i, slopes.values(0), run.end(i))?
            } else if i == 0 && !last {
                let there = self.go(run.x, from, to, &[(1.0, slopes.values(0))])?;
                let end = run.end(i);
                let second = run.model.denoise(&there, end)?;
                let second = self.slope(&there, &second, end.sigma)?;
                self.go(run.x, from, to, &[(0.5, &second), (0.5, slopes.values(0))])?
            } else if to <= 0.0 {
                denoised.clone()
            } else {
                self.go(run.x, from, to, &slopes.weighted(adams_bashforth(slopes.len())))?
            };
            *run.x = x;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
