//! What the latents of a VAE look like.

use crate::LatentRgb;

/// The latents that a family of models works with. They are (those of the VAE - `shift`) x `scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatentFormat {
    /// Channels of a latent.
    pub channels: usize,
    /// Makes the VAE's latents, less the shift, those that the network was trained on, of about unit variance.
    pub scale: f32,
    /// Taken from the VAE's latents first; 0 for Stable Diffusion.
    pub shift: f32,
    /// What the channels look like, roughly.
    pub preview: LatentRgb,
}
