//! Sizes of the published models, for benches that have no file.

use super::sd1;
use crate::names::{self, Named, UnknownName};
use crate::text::TextConfig;
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
    /// Side in pixels of the square pictures that it was trained on.
    pub resolution: usize,
    pub(super) sizes: fn() -> Sizes,
}

/// Sizes of the parts of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Sizes {
    /// Those of the text encoder.
    pub text: TextConfig,
    /// Those of the UNet.
    pub unet: UNetConfig,
    /// Those of the VAE.
    pub vae: VaeConfig,
}

/// Every model of known sizes.
pub static PUBLISHED: &[&Published] = &[&sd1::SD15];

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
