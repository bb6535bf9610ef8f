//! The step's noise level as a vector.

use crate::{Error, params::Params};
use latent_tensor::{Linear, Tensor, ops};

/// Longest period of the sinusoids (Vaswani et al. 2017, section 3.5).
const MAX_PERIOD: f32 = 10_000.0;

/// Sinusoids of `timesteps`: `[n, width]`, cosines first, frequencies `10000^(-i / (width / 2))`
/// (`get_timestep_embedding` with `flip_sin_to_cos`; Ho et al., Denoising Diffusion Probabilistic Models, 2020).
///
/// # Errors
/// None for an even `width` within memory.
pub fn timestep_embedding(timesteps: &[f32], width: usize) -> Result<Tensor, Error> {
    let mut out = Tensor::zeros(&[timesteps.len(), width])?;
    let half = width / 2;
    for (t, row) in timesteps.iter().zip(out.f32s_mut()?.chunks_exact_mut(width.max(1))) {
        for i in 0..half {
            // An angle of 999 is rounded to 3e-5 in f32. Models were trained with sinusoids of the rounded angle, so
            // each step up to it is rounded as there; the sinusoids themselves are exact.
            let exponent = -MAX_PERIOD.ln() * i as f32 / half as f32;
            let frequency = f64::from(exponent).exp() as f32;
            let angle = f64::from(t * frequency);
            row[i] = angle.cos() as f32;
            row[half + i] = angle.sin() as f32;
        }
    }
    Ok(out)
}

/// Two linear layers with SiLU between (`TimestepEmbedding`).
pub(super) struct TimeEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

impl TimeEmbedding {
    pub(super) fn load(params: &Params<'_>, channels: usize, width: usize) -> Result<TimeEmbedding, Error> {
        Ok(TimeEmbedding {
            linear_1: params.linear("linear_1", width, channels)?,
            linear_2: params.linear("linear_2", width, width)?,
        })
    }

    /// `[n]` timesteps to `[n, width]`.
    pub(super) fn forward(&self, timesteps: &[f32]) -> Result<Tensor, Error> {
        let sinusoids = timestep_embedding(timesteps, self.linear_1.inputs())?;
        let hidden = ops::silu(ops::linear(&sinusoids, &self.linear_1)?)?;
        Ok(ops::linear(&hidden, &self.linear_2)?)
    }
}
