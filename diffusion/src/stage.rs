//! The stages of a run, and the networks that are loaded for them.

use crate::Error;
use latent_tensor::Precision;
use std::fmt;

/// A stage of a run. It is displayed as what is being done: "decoding".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Prompts to hidden states of the text encoders.
    TextEncoding,
    /// Images to latents.
    ImageEncoding,
    /// Noise to latents.
    Sampling,
    /// Enlarging images with an upscaler.
    Upscaling,
    /// Latents to images.
    Decoding,
}

impl Stage {
    /// What is being done.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::TextEncoding => "encoding text",
            Stage::ImageEncoding => "encoding images",
            Stage::Sampling => "sampling",
            Stage::Upscaling => "enlarging",
            Stage::Decoding => "decoding",
        }
    }

    /// What does it.
    pub(crate) fn worker(self) -> &'static str {
        match self {
            Stage::TextEncoding => "text encoder",
            Stage::ImageEncoding => "VAE encoder",
            Stage::Sampling => "denoiser",
            Stage::Upscaling => "upscaler",
            Stage::Decoding => "VAE",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A network that is being loaded. It is displayed by its plain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadedNetwork {
    /// A text encoder.
    TextEncoder,
    /// The network that is sampled with: the UNet.
    UNet,
    /// The network that is sampled with: a diffusion transformer.
    Transformer,
    /// The VAE, or half of it.
    Vae,
    /// A ControlNet.
    ControlNet,
    /// A ControlNet-LLLite.
    Lllite,
    /// A T2I-Adapter.
    T2iAdapter,
    /// An IP-Adapter.
    IpAdapter,
    /// A CLIP vision encoder.
    ImageEncoder,
    /// An upscaler.
    Upscaler,
}

impl LoadedNetwork {
    /// The precision of its products where this is asked for. Text encoders stay in `f32`: they cost little, and the whole image
    /// follows from them. The VAE, of convolutions almost alone, has little that int8 could multiply.
    #[must_use]
    pub fn precision(self, asked: Precision) -> Precision {
        match (self, asked) {
            (LoadedNetwork::TextEncoder | LoadedNetwork::ImageEncoder | LoadedNetwork::Upscaler, _) => {
                Precision::F32
            }
            (LoadedNetwork::Vae, Precision::Int8) => Precision::F32,
            (_, asked) => asked,
        }
    }

    /// Its plain name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LoadedNetwork::TextEncoder => "text encoder",
            LoadedNetwork::UNet => "UNet",
            LoadedNetwork::Transformer => "transformer",
            LoadedNetwork::Vae => "VAE",
            LoadedNetwork::ControlNet => "ControlNet",
            LoadedNetwork::Lllite => "ControlNet-LLLite",
            LoadedNetwork::T2iAdapter => "T2I-Adapter",
            LoadedNetwork::IpAdapter => "IP-Adapter",
            LoadedNetwork::ImageEncoder => "image encoder",
            LoadedNetwork::Upscaler => "upscaler",
        }
    }
}

impl fmt::Display for LoadedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Fails if a stage computed infinities or NaN.
pub(crate) fn expect_finite(stage: Stage, values: &[f32]) -> Result<(), Error> {
    if values.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(Error::NotFinite { stage }) }
}
