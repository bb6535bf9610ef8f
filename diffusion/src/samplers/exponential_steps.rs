//! The steps of DPM-Solver: Lu et al., "DPM-Solver: a fast ODE solver for diffusion probabilistic model sampling in around 10
//! steps", 2022, algorithms 1 and 2, as k-diffusion's `DPMSolver` has them.
//!
//! Time is t = -ln sigma. Over a step the noise (x - D) / sigma is extrapolated, and what is linear in x is solved exactly, hence
//! the exponentials. A step of order n takes n evaluations.

use super::run::sum;
use super::{SampleError, SamplingRun};
use latent_tensor::Tensor;

/// Where the evaluations within a step of the third order are.
const THIRD: f64 = 1.0 / 3.0;

/// A step from a time to another.
#[derive(Clone, Copy)]
pub(super) struct ExponentialStep {
    pub(super) from: f64,
    pub(super) to: f64,
}

/// The noise that a model sees in latents, and its estimate of what is behind it.
pub(super) struct NoiseEstimate {
    pub(super) noise: Tensor,
    pub(super) denoised: Tensor,
}

/// The sigma of a time.
pub(super) fn sigma(time: f64) -> f64 {
    (-time).exp()
}

/// The time of a sigma.
pub(super) fn time(sigma: f64) -> f64 {
    -sigma.ln()
}

impl ExponentialStep {
    fn length(&self) -> f64 {
        self.to - self.from
    }

    /// The model's view of latents at a time.
    fn noise_at(&self, run: &mut SamplingRun<'_>, x: &Tensor, at: f64) -> Result<NoiseEstimate, SampleError> {
        let level = run.schedule.noise_model().level_at(sigma(at));
        let denoised = run.model.denoise(x, level)?;
        let scale = level.sigma.recip();
        Ok(NoiseEstimate { noise: sum(&[(scale, x), (-scale, &denoised)])?, denoised })
    }

    /// The model's view of the run's latents, where the step begins.
    pub(super) fn begin(&self, run: &mut SamplingRun<'_>) -> Result<NoiseEstimate, SampleError> {
        let x = run.x.clone();
        self.noise_at(run, &x, self.from)
    }

    /// The first order.
    pub(super) fn first(&self, run: &SamplingRun<'_>, noise: &Tensor) -> Result<Tensor, SampleError> {
        sum(&[(1.0, &*run.x), (-sigma(self.to) * self.length().exp_m1(), noise)])
    }

    /// The noise a `part` of the way on.
    pub(super) fn within(
        &self,
        run: &mut SamplingRun<'_>,
        noise: &Tensor,
        part: f64,
    ) -> Result<Tensor, SampleError> {
        let (at, length) = (self.from + part * self.length(), part * self.length());
        let there = sum(&[(1.0, &*run.x), (-sigma(at) * length.exp_m1(), noise)])?;
        Ok(self.noise_at(run, &there, at)?.noise)
    }

    /// The second order, with the noise a `part` of the way on.
    pub(super) fn second(
        &self,
        run: &SamplingRun<'_>,
        noise: &Tensor,
        (within, part): (&Tensor, f64),
    ) -> Result<Tensor, SampleError> {
        let whole = sigma(self.to) * self.length().exp_m1();
        let change = whole / (2.0 * part);
        sum(&[(1.0, &*run.x), (change - whole, noise), (-change, within)])
    }

    /// The third order, with the noise a third of the way on.
    pub(super) fn third(
        &self,
        run: &mut SamplingRun<'_>,
        noise: &Tensor,
        within: &Tensor,
    ) -> Result<Tensor, SampleError> {
        let part = 2.0 * THIRD;
        let (at, length) = (self.from + part * self.length(), part * self.length());
        let change = sigma(at) * (part / THIRD) * (length.exp_m1() / length - 1.0);
        let there = sum(&[(1.0, &*run.x), (change - sigma(at) * length.exp_m1(), noise), (-change, within)])?;
        let later = self.noise_at(run, &there, at)?.noise;
        let (end, length) = (sigma(self.to), self.length());
        let change = end / part * (length.exp_m1() / length - 1.0);
        sum(&[(1.0, &*run.x), (change - end * length.exp_m1(), noise), (-change, &later)])
    }

    /// This step to a time before its end, and the noise that then makes up for the rest: `eta` of what the forward process
    /// has between both. It does not go beyond the time `last`.
    pub(super) fn ancestral(self, eta: f64, last: f64) -> (ExponentialStep, f64) {
        if eta <= 0.0 {
            return (self, 0.0);
        }
        let (down, _) = super::added_noise::ancestral(sigma(self.from), sigma(self.to), eta);
        let to = last.min(time(down));
        let noise = (sigma(self.to).powi(2) - sigma(to).powi(2)).max(0.0).sqrt();
        (ExponentialStep { to, ..self }, noise)
    }
}

/// The only step of a schedule of one level: to the estimate.
pub(super) fn jump(run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
    let denoised = run.denoise(0)?;
    run.set(&[(1.0, &denoised)])?;
    run.report(run.schedule.steps() - 1, 0.0, &denoised)
}

/// Where the evaluation within a step of the second order is, and the first one within one of the third.
pub(super) const PART_OF_SECOND: f64 = 0.5;
pub(super) const PART_OF_THIRD: f64 = THIRD;
