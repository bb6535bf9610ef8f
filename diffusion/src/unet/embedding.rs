//! Embeddings of the timestep, of SDXL's added vector, and of the guidance scale.

use crate::{Error, params::Params};
use latent_tensor::{Linear, Tensor, ops};

/// Longest period of the sinusoids (Vaswani et al. 2017, section 3.5).
const MAX_PERIOD: f32 = 10_000.0;

/// The guidance scale is multiplied by this, so that its sinusoids are as far apart as those of timesteps.
const GUIDANCE_SCALE: f32 = 1000.0;

/// Width of the sinusoids of one of SDXL's sizes (`addition_time_embed_dim`).
const SIZE_WIDTH: usize = 256;

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

/// SDXL's added vector (`text_time` in diffusers; Podell et al., SDXL, 2023, section 2.2): the pooled text
/// `[n, width]`, then 256 sinusoids of each of the image's `sizes`, of which each of the n images has the same number:
/// `[n, width + 256 k]`.
///
/// The base model has six sizes: the original's height and width, the crop's top and left, the target's height and
/// width. The refiner has five: an aesthetic score in place of the target.
///
/// # Errors
/// A `pooled` of another rank, or a number of sizes that is not a multiple of the number of images.
pub fn added_vector(pooled: &Tensor, sizes: &[f32]) -> Result<Tensor, Error> {
    let n = pooled.dims().first().copied().unwrap_or(0);
    if n == 0 || !sizes.len().is_multiple_of(n) {
        let reason = format!("{} sizes cannot be shared equally by {n} images", sizes.len());
        return Err(Error::setting(crate::Setting::Sizes, reason));
    }
    let sinusoids = timestep_embedding(sizes, SIZE_WIDTH)?.reshape(&[n, sizes.len() / n * SIZE_WIDTH])?;
    Ok(ops::concat_channels(pooled, &sinusoids)?)
}

/// The embedding of the guidance scale that an LCM takes (`get_guidance_scale_embedding` in diffusers; Luo et al., Latent Consistency
/// Models, 2023, section 4.2): sinusoids of 1000 (`guidance` - 1), `[n, width]`. Unlike in [`timestep_embedding`], sines come
/// first, and the last frequency is 1/10000.
///
/// # Errors
/// None for an even `width` within memory.
pub fn guidance_embedding(guidance: &[f32], width: usize) -> Result<Tensor, Error> {
    let mut out = Tensor::zeros(&[guidance.len(), width])?;
    let half = width / 2;
    for (scale, row) in guidance.iter().zip(out.f32s_mut()?.chunks_exact_mut(width.max(1))) {
        let scale = (scale - 1.0) * GUIDANCE_SCALE;
        for i in 0..half {
            // Rounded where it was in training, as above.
            let exponent = -MAX_PERIOD.ln() / (half.max(2) - 1) as f32 * i as f32;
            let angle = f64::from(scale * (f64::from(exponent).exp() as f32));
            row[i] = angle.sin() as f32;
            row[half + i] = angle.cos() as f32;
        }
    }
    Ok(out)
}

/// Two linear layers with SiLU between (`TimestepEmbedding`).
pub(crate) struct TimestepEmbedding {
    /// The layer for the guidance's embedding, whose output is added to the sinusoids.
    cond_proj: Option<Linear>,
    linear_1: Linear,
    linear_2: Linear,
}

impl TimestepEmbedding {
    /// `cond` is the length of the guidance's embedding, for models that take it.
    pub(crate) fn load(
        params: &Params<'_>,
        inputs: usize,
        width: usize,
        cond: Option<usize>,
    ) -> Result<TimestepEmbedding, Error> {
        Ok(TimestepEmbedding {
            cond_proj: cond.map(|dim| params.linear("cond_proj", inputs, dim)).transpose()?,
            linear_1: params.linear("linear_1", width, inputs)?,
            linear_2: params.linear("linear_2", width, width)?,
        })
    }

    /// Length of the input vector.
    pub(super) fn inputs(&self) -> usize {
        self.linear_1.inputs()
    }

    /// The layer for the guidance.
    pub(super) fn cond_proj(&self) -> Option<&Linear> {
        self.cond_proj.as_ref()
    }

    /// `[n, inputs]` to `[n, width]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let hidden = ops::silu(ops::linear(x, &self.linear_1)?)?;
        Ok(ops::linear(&hidden, &self.linear_2)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guidance_is_embedded_as_diffusers_does() {
        // Four sinusoids of 1000 (1.002 - 1) = 2 and of 0: frequencies 1 and 1/10000.
        let embedding = guidance_embedding(&[1.002, 1.0], 4).unwrap();
        let expected = [2.0_f64.sin(), 2e-4, 2.0_f64.cos(), 1.0 - 2e-8, 0.0, 0.0, 1.0, 1.0];
        for (value, expected) in embedding.f32s().unwrap().iter().zip(expected) {
            assert!((f64::from(*value) - expected).abs() < 1e-4, "{value} {expected}");
        }
        assert_eq!(embedding.dims(), [2, 4]);
    }
}
