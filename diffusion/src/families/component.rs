//! The components of a model, by name.

use std::fmt;

/// A component of a model, or what else a file contains. Displayed, it is its name: "text encoder".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Component {
    /// A text encoder: the only one, the first one, or any.
    TextEncoder,
    /// The second text encoder of SDXL.
    SecondTextEncoder,
    /// CLIP-L.
    ClipL,
    /// OpenCLIP H.
    OpenClipH,
    /// OpenCLIP bigG.
    OpenClipBigG,
    /// T5, the large text encoder of Stable Diffusion 3 and Flux.
    T5,
    /// Qwen3, the large text encoder of Z-Image and Flux.2 klein.
    Qwen3,
    /// The denoiser network.
    UNet,
    /// The denoiser network of models without a UNet.
    Transformer,
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
    /// The variational autoencoder.
    Vae,
    /// Its encoder alone.
    VaeEncoder,
    /// The encoder of a TAESD.
    TaesdEncoder,
    /// The decoder of a TAESD.
    TaesdDecoder,
    /// An upscaler of images.
    Upscaler,
    /// The averaged copy of the weights that trainers keep.
    EmaCopy,
    /// Tables and markers of the noise schedule.
    Schedule,
    /// All else.
    Other,
}

impl Component {
    /// Its name, for people: "text encoder (CLIP-L)".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Component::TextEncoder => "text encoder",
            Component::SecondTextEncoder => "second text encoder",
            Component::ClipL => "text encoder (CLIP-L)",
            Component::OpenClipH => "text encoder (OpenCLIP H)",
            Component::OpenClipBigG => "text encoder (OpenCLIP bigG)",
            Component::T5 => "text encoder (T5)",
            Component::Qwen3 => "text encoder (Qwen3)",
            Component::UNet => "UNet",
            Component::Transformer => "transformer",
            Component::ControlNet => "ControlNet",
            Component::Lllite => "ControlNet-LLLite",
            Component::T2iAdapter => "T2I-Adapter",
            Component::IpAdapter => "IP-Adapter",
            Component::ImageEncoder => "image encoder",
            Component::Vae => "VAE",
            Component::VaeEncoder => "encoder in its VAE",
            Component::TaesdEncoder => "encoder",
            Component::TaesdDecoder => "decoder",
            Component::Upscaler => "upscaler",
            Component::EmaCopy => "EMA copy",
            Component::Schedule => "schedule",
            Component::Other => "other",
        }
    }

    /// Whether it is a text encoder.
    #[must_use]
    pub fn is_text_encoder(self) -> bool {
        use Component::{ClipL, OpenClipBigG, OpenClipH, Qwen3, SecondTextEncoder, T5, TextEncoder};
        matches!(self, TextEncoder | SecondTextEncoder | ClipL | OpenClipH | OpenClipBigG | T5 | Qwen3)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
