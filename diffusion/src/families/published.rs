//! Sizes of the published models, for benches that have no file.

use super::{others, sd1};
use crate::names::{self, Named, UnknownName};
use crate::text::{TextActivation, TextConfig};
use crate::unet::UNetConfig;
use crate::vae::VaeConfig;

/// A model whose sizes are known without its file.
pub struct Published {
    /// Short name, as a program writes it.
    pub id: &'static str,
    /// Name, as a person writes it.
    pub label: &'static str,
    /// Other spellings of the short name.
    pub(super) aliases: &'static [&'static str],
    /// Side in pixels of the square images that it was trained on.
    pub resolution: usize,
    pub(super) sizes: fn() -> Sizes,
}

/// Sizes of the parts of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Sizes {
    /// Those of its text encoders.
    pub text: Vec<TextConfig>,
    /// Those of the UNet.
    pub unet: UNetConfig,
    /// Those of the VAE.
    pub vae: VaeConfig,
}

/// Tokens of CLIP's vocabulary.
const VOCABULARY: usize = 49_408;

/// The text encoder of SD 1.x, and the first of SDXL.
pub(super) const CLIP_L: TextConfig = TextConfig {
    vocabulary: VOCABULARY,
    width: 768,
    layers: 12,
    mlp_width: 3072,
    activation: TextActivation::QuickGelu,
};

/// The text encoder of SD 2.x, without the last of its 24 layers, which is not used.
pub(super) const OPEN_CLIP_H: TextConfig = TextConfig {
    vocabulary: VOCABULARY,
    width: 1024,
    layers: 23,
    mlp_width: 4096,
    activation: TextActivation::Gelu,
};

/// The second text encoder of SDXL. The pooled text needs all its layers.
pub(super) const OPEN_CLIP_BIG_G: TextConfig = TextConfig {
    vocabulary: VOCABULARY,
    width: 1280,
    layers: 32,
    mlp_width: 5120,
    activation: TextActivation::Gelu,
};

/// The VAE of all of them, but for the scale of its latents.
pub(super) fn vae(scaling_factor: f32) -> VaeConfig {
    VaeConfig {
        block_out_channels: vec![128, 256, 512, 512],
        layers_per_block: 2,
        latent_channels: 4,
        scaling_factor,
    }
}

/// Every model of known sizes.
pub static PUBLISHED: &[&Published] = &[&sd1::SD15, &others::SD21, &others::SDXL_BASE];

impl Published {
    /// The model of that name.
    ///
    /// # Errors
    /// [`UnknownName`], which lists the known ones.
    pub fn find(name: &str) -> Result<&'static Published, UnknownName> {
        names::find("family", name, PUBLISHED.iter().copied())
    }

    /// Sizes of its parts.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        (self.sizes)()
    }
}

impl Named for Published {
    fn name(&self) -> &'static str {
        self.id
    }

    fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }
}
