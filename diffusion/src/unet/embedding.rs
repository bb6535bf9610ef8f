//! The step's noise level, and SDXL's sizes, as a vector.

use crate::{Error, params::Params};
use latent_tensor::{Linear, Tensor, ops};

/// Longest period of the sinusoids (Vaswani et al. 2017, section 3.5).
const MAX_PERIOD: f32 = 10_000.0;

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

/// SDXL's vector beside the time (`text_time` in diffusers; Podell et al., SDXL, 2023, section 2.2): the pooled text
/// `[n, width]`, then 256 sinusoids of each of the picture's `sizes`, which has equally many for each of the n:
/// `[n, width + 256 k]`.
///
/// The base model has six sizes: the original's height and width, the crop's top and left, the target's height and
/// width. The refiner has five: an aesthetic score stands in place of the target.
///
/// # Errors
/// A `pooled` of another rank, or sizes that are not equally many for each row.
pub fn added_vector(pooled: &Tensor, sizes: &[f32]) -> Result<Tensor, Error> {
    let n = pooled.dims().first().copied().unwrap_or(0);
    if n == 0 || !sizes.len().is_multiple_of(n) {
        return Err(Error::Setting {
            name: "sizes",
            reason: format!("{} are not equally many for each of {n} pictures", sizes.len()),
        });
    }
    let sinusoids = timestep_embedding(sizes, SIZE_WIDTH)?.reshape(&[n, sizes.len() / n * SIZE_WIDTH])?;
    Ok(ops::concat_channels(pooled, &sinusoids)?)
}

/// Two linear layers with SiLU between (`TimestepEmbedding`).
pub(super) struct TimestepEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

impl TimestepEmbedding {
    pub(super) fn load(params: &Params<'_>, inputs: usize, width: usize) -> Result<TimestepEmbedding, Error> {
        Ok(TimestepEmbedding {
            linear_1: params.linear("linear_1", width, inputs)?,
            linear_2: params.linear("linear_2", width, width)?,
        })
    }

    /// Length of a vector that it takes.
    pub(super) fn inputs(&self) -> usize {
        self.linear_1.inputs()
    }

    /// `[n, inputs]` to `[n, width]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let hidden = ops::silu(ops::linear(x, &self.linear_1)?)?;
        Ok(ops::linear(&hidden, &self.linear_2)?)
    }
}
