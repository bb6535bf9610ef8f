//! Latents of unit variance as the VAE gives them, for models with statistics of each channel.

use super::VaeConfig;
use crate::Error;
use latent_tensor::{Device, Tensor};

/// Latents `[batch, height, width, channels]` of unit variance as the VAE gives them, in main memory.
pub(crate) fn unscaled(latents: &Tensor, config: &VaeConfig) -> Result<Tensor, Error> {
    let latents = latents.to(&Device::Cpu)?;
    let scales = config.unscaled();
    let values = latents.f32s()?.iter().zip(scales.iter().cycle());
    let values: Vec<f32> = values.map(|(value, (factor, summand))| value * factor + summand).collect();
    Ok(Tensor::from_f32(latents.dims(), &values)?)
}
