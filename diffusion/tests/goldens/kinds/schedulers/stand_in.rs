//! The analytic stand-in for the network: the ideal answer for data around a mean, and a ripple.

use latent_diffusion::samplers::{Denoiser, GuidedEstimate, Prediction, SampleError};
use latent_diffusion::schedule::{NoiseLevel, NoiseModel};
use latent_diffusion::tensor::Tensor;

use super::values::{guided, like, values};

/// Variance of the data that it is ideal for.
const VARIANCE: f64 = 0.25;
/// Guidance scale, where there is a negative prompt.
const GUIDANCE: f32 = 1.5;
/// Height of the ripple.
const RIPPLE: f64 = 0.05;

pub(super) struct StandIn<'a> {
    mean: &'a [f32],
    /// The mean under the negative prompt, where there is guidance.
    pub(super) negative: Option<Vec<f32>>,
    prediction: Prediction,
    noise_model: NoiseModel,
    alphas_cumprod: &'a [f64],
    /// What it was asked: the time step, the input of the network, and the latents.
    pub(super) asked: Vec<Asked>,
}

/// One evaluation.
pub(super) struct Asked {
    pub(super) timestep: f64,
    pub(super) input: Vec<f32>,
    pub(super) latents: Vec<f32>,
}

impl<'a> StandIn<'a> {
    pub(super) fn new(
        mean: &'a [f32],
        (prediction, noise_model): (Prediction, NoiseModel),
        alphas_cumprod: &'a [f64],
    ) -> StandIn<'a> {
        StandIn { mean, negative: None, prediction, noise_model, alphas_cumprod, asked: Vec::new() }
    }

    /// The estimate around a mean.
    fn estimate(&self, x: &[f32], input: &[f32], level: NoiseLevel, mean: &[f32]) -> Vec<f32> {
        let mut out = self.network(input, level.timestep, mean);
        self.noise_model.to_denoised(x, &mut out, level.sigma);
        out
    }

    fn network(&self, input: &[f32], timestep: f64, mean: &[f32]) -> Vec<f32> {
        let t = timestep.clamp(0.0, 999.0);
        let whole = (t as usize).min(998);
        let part = t - whole as f64;
        let alpha = (1.0 - part) * self.alphas_cumprod[whole] + part * self.alphas_cumprod[whole + 1];
        let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let total = alpha * VARIANCE + 1.0 - alpha;
        let value = |(x, mean): (&f32, &f32)| {
            let (x, mean) = (f64::from(*x), f64::from(*mean));
            let off = x - signal * mean;
            let epsilon = noise / total * off;
            let out = match self.prediction {
                Prediction::Epsilon => epsilon,
                Prediction::V => signal * epsilon - noise * (mean + signal * VARIANCE / total * off),
            };
            (out + RIPPLE * (2.0 * x).sin()) as f32
        };
        input.iter().zip(mean).map(value).collect()
    }
}

impl Denoiser for StandIn<'_> {
    fn denoise(&mut self, x: &Tensor, level: NoiseLevel) -> Result<Tensor, SampleError> {
        let latents = values(x);
        let input = self.noise_model.network_input(&latents, level.sigma);
        let out = self.estimate(&latents, &input, level, self.mean);
        self.asked.push(Asked { timestep: level.timestep, input, latents });
        Ok(like(x, &out))
    }

    fn denoise_apart(&mut self, x: &Tensor, level: NoiseLevel) -> Result<GuidedEstimate, SampleError> {
        let denoised = self.denoise(x, level)?;
        let Some(mean) = &self.negative else {
            return Ok(GuidedEstimate { negative: denoised.clone(), denoised });
        };
        let latents = values(x);
        let input = self.noise_model.network_input(&latents, level.sigma);
        let negative = self.estimate(&latents, &input, level, mean);
        Ok(GuidedEstimate { denoised: guided(&denoised, &negative, GUIDANCE), negative: like(x, &negative) })
    }
}
