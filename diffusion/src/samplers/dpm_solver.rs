//! What the multistep DPM-Solvers share: Lu et al., "DPM-Solver: a fast ODE solver for diffusion probabilistic model sampling
//! in around 10 steps", 2022, and "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models", 2022,
//! section 4 and appendix B (order 3) and C (with noise). diffusers' `DPMSolverMultistepScheduler`, k-diffusion's
//! `sample_dpmpp_2m`, `sample_dpmpp_2m_sde` and `sample_dpmpp_3m_sde`.
//!
//! With lambda = -log sigma the equation for x has a linear part that is solved exactly. The rest is an integral of D e^lambda,
//! in which D is extrapolated along lambda from this step and those before. h is the length of this step in lambda, H = (1 +
//! eta) h what it is with noise, and D', D'' stand for differences of D in units of h:
//!
//! x' = e^-H x + (1 - e^-H) D + c1 D' + c2 D'' + sigma' sqrt(1 - e^(-2 eta h)) n
//!
//! c1 is (1 - e^-H) / 2 by the midpoint rule, and (e^-H - 1) / H + 1 by exact integration; c2 = 1/2 - (e^-H - 1 + H) / H^2. The first
//! paper's solver extrapolates the noise (x - D) / sigma instead, which is the same with -h for H, times sigma', and x in place of
//! e^-H x.

use super::history::{History, order_at_end};
use super::noise_ratios::in_noise_ratios;
use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;

/// The usual amount of noise where there is noise: as much as the forward process adds.
const DEFAULT_ETA: f64 = 1.0;

/// How the slope of the estimate is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlopeRule {
    /// As its value in the middle of the step.
    Midpoint,
    /// Integrated exactly ("heun" in diffusers).
    Integral,
}

/// What is extrapolated from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extrapolated {
    /// The image: DPM-Solver++.
    Image,
    /// The noise: DPM-Solver.
    Noise,
}

/// A multistep DPM-Solver with all its switches, some settings of which are the samplers with names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DpmSolver {
    /// 1 to 3: levels that count in a step.
    pub order: usize,
    /// How the slope counts; order 3 always integrates.
    pub rule: SlopeRule,
    /// Whether noise is added: `SamplingRun::eta`, or 1.
    pub stochastic: bool,
    /// What is extrapolated. With the noise, none can be added.
    pub extrapolated: Extrapolated,
    /// Whether the last steps are of lower order when there are few, as in diffusers.
    pub lower_at_end: bool,
}

impl DpmSolver {
    /// DPM-Solver++(2M).
    pub const PLUS_PLUS_2M: Self = Self {
        order: 2,
        rule: SlopeRule::Midpoint,
        stochastic: false,
        extrapolated: Extrapolated::Image,
        lower_at_end: true,
    };

    /// Weights of the newest values in a step of length `h`, or (1 + eta) h; lambda went on by `before` in the steps before.
    fn weights(&self, length: f64, h: f64, before: &[f64]) -> Vec<f64> {
        let first = -(-length).exp_m1();
        let integral = 1.0 - first / length;
        match *before {
            [] => vec![first],
            [h0] => {
                let slope = if self.rule == SlopeRule::Midpoint { first / 2.0 } else { integral };
                let change = slope * h / h0;
                vec![first + change, -change]
            }
            [h0, h1, ..] => {
                let (r0, r1) = (h0 / h, h1 / h);
                let curve = 0.5 - (length - first) / (length * length);
                // Of D - D' and D' - D'', the differences of neighbours.
                let near = (integral * (1.0 + r0 / (r0 + r1)) + curve / (r0 + r1)) / r0;
                let far = -(integral * r0 + curve) / (r0 + r1) / r1;
                vec![first + near, far - near, -far]
            }
        }
    }
}

impl Named for DpmSolver {
    fn name(&self) -> &'static str {
        "dpm_solver"
    }
}

impl Sampler for DpmSolver {
    fn label(&self) -> &'static str {
        "DPM-Solver"
    }

    fn about(&self) -> &'static str {
        "the family of the DPM++ multistep samplers, with all switches"
    }

    fn discretization(&self) -> Discretization {
        Discretization::DpmSolver
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        in_noise_ratios(run, |run| self.solve(run))
    }
}

impl DpmSolver {
    /// In the latents of the run, whatever they are.
    pub(super) fn solve(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let eta = if self.stochastic { run.eta.unwrap_or(DEFAULT_ETA) } else { 0.0 };
        let of_noise = self.extrapolated == Extrapolated::Noise;
        let total = run.schedule.steps();
        let mut history = History::new(self.order);
        for i in 0..total {
            let (from, to) = run.span(i);
            let denoised = run.denoise(i)?;
            let value = if of_noise {
                sum(&[(from.recip(), &*run.x), (-from.recip(), &denoised)])?
            } else {
                denoised.clone()
            };
            history.push(from, value);
            let h = (from / to).ln();
            let wanted =
                if self.lower_at_end { order_at_end(self.order, total - i, total) } else { self.order };
            let order = wanted.min(history.len());
            let before: Vec<f64> =
                (1..order).map(|age| (history.sigma(age) / history.sigma(age - 1)).ln()).collect();
            if to <= 0.0 {
                run.set(&[(1.0, &denoised)])?;
            } else if h > 0.0 && of_noise {
                let weights = self.weights(-h, h, &before);
                let weights: Vec<f64> = weights.into_iter().map(|weight| to * weight).collect();
                run.advance(1.0, &history.weighted(&weights))?;
            } else if h > 0.0 {
                let weights = self.weights((1.0 + eta) * h, h, &before);
                run.advance(to / from * (-eta * h).exp(), &history.weighted(&weights))?;
                run.add_noise(to * (-(-2.0 * eta * h).exp_m1()).sqrt())?;
            }
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
