//! Sizes of the published models, for benches that have no file.

use super::latent_format::LatentFormat;
use crate::names::Named;
use crate::text::TextConfig;
use crate::unet::UNetConfig;
use crate::vae::VaeConfig;

/// A model whose sizes are known without its file.
#[derive(Debug)]
#[non_exhaustive]
pub struct PublishedModel {
    /// Short name, as a program writes it.
    pub id: &'static str,
    /// Name, as a person writes it.
    pub label: &'static str,
    /// Other spellings of the short name.
    pub(super) aliases: &'static [&'static str],
    /// Side in pixels of the square images that it was trained on.
    pub resolution: usize,
    pub(super) sizes: fn() -> ModelSizes,
}

/// Sizes of the parts of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSizes {
    /// Those of its text encoders.
    pub text: Vec<TextConfig>,
    /// Those of the UNet.
    pub unet: UNetConfig,
    /// Those of the VAE.
    pub vae: VaeConfig,
}

/// The VAE of all published models of Stable Diffusion, for latents of a format.
pub(super) fn vae(latents: &LatentFormat) -> VaeConfig {
    VaeConfig {
        block_out_channels: vec![128, 256, 512, 512],
        layers_per_block: 2,
        latent_channels: latents.channels,
        packing: latents.packing,
        scaling_factor: latents.scale,
        shift_factor: latents.shift,
        has_quant_conv: latents.has_quant_conv,
        statistics: None,
    }
}

impl PublishedModel {
    /// Sizes of its parts.
    #[must_use]
    pub fn sizes(&self) -> ModelSizes {
        (self.sizes)()
    }
}

impl Named for PublishedModel {
    fn name(&self) -> &'static str {
        self.id
    }

    fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }
}
