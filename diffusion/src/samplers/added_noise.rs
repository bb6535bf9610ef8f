//! Noise that samplers add on the way, for every noise model.
//!
//! Latents go from a level to a higher one by noise that is added, and where their image has a weight, as in flow matching
//! (1 - sigma), they are multiplied first so that it has the weight of the higher level
//! ([`NoiseModel::noise_up`](crate::schedule::NoiseModel::noise_up)).

use super::{SampleError, SamplingRun};
use crate::schedule::NoiseModel;
use latent_tensor::Tensor;

/// Maximum fraction of a level that noise is churned by in one step: Karras et al. 2022, algorithm 2, line 3.
const MAX_CHURN: f64 = std::f64::consts::SQRT_2 - 1.0;

/// How a step ends that goes below its target, and makes up for the rest with noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AncestralStep {
    /// The level to go down to.
    pub(super) down: f64,
    /// What latents are multiplied by then.
    keep: f64,
    /// The noise that is added in the end.
    up: f64,
}

impl SamplingRun<'_> {
    /// The estimate that step `index` begins with. Noise may be added first, to go up by a fraction of the level:
    /// Karras et al. 2022, algorithm 2, lines 4 to 6. The sigma it was made at comes with it.
    pub(super) fn denoise_churned(&mut self, index: usize) -> Result<(Tensor, f64), SampleError> {
        let sigma = self.schedule.levels()[index].sigma;
        let part = self.schedule.churn().amount / self.schedule.steps() as f64;
        let part = part.min(MAX_CHURN);
        let noise_model = self.schedule.noise_model();
        let up = noise_model.sigma_of_ratio(noise_model.noise_ratio(sigma) * (1.0 + part));
        // Where nothing but noise is left, there is nothing above.
        if part <= 0.0 || !up.is_finite() {
            return Ok((self.denoise(index)?, sigma));
        }
        let level = noise_model.level_at(up);
        self.add_noise_up(sigma, up)?;
        Ok((self.denoise_level(level)?, up))
    }

    /// x = x + `amount` times noise, times the strength of all noise. Nothing is drawn for an amount of 0.
    pub(super) fn add_noise(&mut self, amount: f64) -> Result<(), SampleError> {
        self.blend_noise(1.0, amount)
    }

    /// Makes latents of the level `from` those of the level `to` above it.
    pub(super) fn add_noise_up(&mut self, from: f64, to: f64) -> Result<(), SampleError> {
        let (keep, amount) = self.schedule.noise_model().noise_up(from, to);
        self.blend_noise(keep, amount)
    }

    fn blend_noise(&mut self, keep: f64, amount: f64) -> Result<(), SampleError> {
        if amount > 0.0 {
            let noise = self.draw()?;
            self.blend(keep, amount * self.schedule.churn().noise, &noise)?;
        }
        Ok(())
    }

    /// How step `index` goes below its target, for as much noise as `eta` says: 0 none, 1 as much as the forward process has
    /// between the two levels.
    ///
    /// For flow matching the level below is sigma'^2 / sigma, and `eta` a part of the way to it, as ComfyUI's samplers whose
    /// names end in `RF` have it.
    pub(super) fn ancestral(&self, index: usize, eta: f64) -> AncestralStep {
        let (from, to) = self.span(index);
        let noise_model = self.schedule.noise_model();
        if !matches!(noise_model, NoiseModel::FlowMatching(_)) {
            let (down, up) = ancestral(from, to, eta);
            return AncestralStep { down, keep: 1.0, up };
        }
        if to >= from {
            return AncestralStep { down: to, keep: 1.0, up: 0.0 };
        }
        let down = to * (1.0 + (to / from - 1.0) * eta);
        let (keep, up) = noise_model.noise_up(down, to);
        AncestralStep { down, keep, up }
    }

    /// Adds the noise of such a step, once the latents are at its level below.
    pub(super) fn finish_ancestral(&mut self, step: AncestralStep) -> Result<(), SampleError> {
        self.blend_noise(step.keep, step.up)
    }

    /// A step of Euler's method along (x - denoised) / sigma, to a level below the target, and noise to make up for the
    /// difference.
    pub(super) fn ancestral_step(
        &mut self,
        index: usize,
        denoised: &Tensor,
        eta: f64,
    ) -> Result<(), SampleError> {
        let (from, step) = (self.span(index).0, self.ancestral(index, eta));
        self.blend(step.down / from, 1.0 - step.down / from, denoised)?;
        self.finish_ancestral(step)
    }
}

/// For a step between two levels of latents to which noise is simply added: the level to go down to, and the amount of noise
/// that then makes up for the rest.
pub(super) fn ancestral(from: f64, to: f64, eta: f64) -> (f64, f64) {
    let up = to.min(eta * to * (1.0 - (to / from).powi(2)).max(0.0).sqrt());
    ((to * to - up * up).sqrt(), up)
}
