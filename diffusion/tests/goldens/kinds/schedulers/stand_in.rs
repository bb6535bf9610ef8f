//! The analytic stand-in for the network: the ideal answer for data around a mean, and a ripple.

use latent_diffusion::samplers::{Denoiser, Prediction, SampleError};
use latent_diffusion::schedule::{NoiseLevel, NoiseModel};

/// Variance of the data that it is ideal for.
const VARIANCE: f64 = 0.25;
/// Height of the ripple.
const RIPPLE: f64 = 0.05;

pub(super) struct StandIn<'a> {
    mean: &'a [f32],
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
        StandIn { mean, prediction, noise_model, alphas_cumprod, asked: Vec::new() }
    }

    fn network(&self, input: &[f32], timestep: f64) -> Vec<f32> {
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
        input.iter().zip(self.mean).map(value).collect()
    }
}

impl Denoiser for StandIn<'_> {
    fn denoise(&mut self, x: &[f32], level: NoiseLevel) -> Result<Vec<f32>, SampleError> {
        let input = self.noise_model.network_input(x, level.sigma);
        let mut out = self.network(&input, level.timestep);
        self.asked.push(Asked { timestep: level.timestep, input, latents: x.to_vec() });
        self.noise_model.to_denoised(x, &mut out, level.sigma);
        Ok(out)
    }
}
