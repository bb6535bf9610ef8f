//! The autoencoder between images and latents (`AutoencoderKL`; Esser et al., Taming Transformers, 2021; Rombach et
//! al., Latent Diffusion Models, 2022).

mod bands;
mod config;
mod decoder;
mod encoder;
pub(crate) mod latents;
mod mid_block;
#[cfg(test)]
mod tests;

pub use config::{LatentStatistics, VaeConfig};
pub use decoder::VaeDecoder;
pub use encoder::{Moments, VaeEncoder};

/// Epsilon of the VAE's group norms.
const EPS: f32 = 1e-6;
