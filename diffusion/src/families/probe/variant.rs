//! What a UNet is among those of its family.

use std::fmt;

/// What a UNet is among those of its family. Displayed, it is its name: "inpainting".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelVariant {
    /// Text and noise in: the family itself.
    Base,
    /// Also the mask and the latents of the masked image.
    Inpainting,
    /// Also the latents of the image to edit (InstructPix2Pix).
    Pix2Pix,
    /// Also an image at a quarter of the size.
    X4Upscaler,
    /// Also a depth map.
    Depth,
    /// An image embedding in place of the text.
    UnClip,
    /// Several frames at once.
    StableVideoDiffusion,
    /// An image and a camera position in place of the text.
    Zero123,
    /// SDXL without attention in the mid block and with fewer transformer blocks.
    Ssd1b,
    /// A smaller SSD-1B.
    Vega,
    /// SDXL without a mid block.
    Koala,
    /// SD 1.x or 2.x with half of the residual blocks, and no mid block or fewer levels (BK-SDM, small-sd, tiny-sd).
    BkSdm,
    /// A smaller one of three levels for a single step (SDXS-512).
    Sdxs,
    /// SDXL trained with the noise levels of EDM (Karras et al. 2022): CosXL, Playground 2.5.
    Edm,
    /// Stable Diffusion 3 medium.
    Sd3Medium,
    /// Stable Diffusion 3.5 medium, whose first blocks have a second attention.
    Sd35Medium,
    /// Stable Diffusion 3.5 large, of 38 blocks.
    Sd35Large,
    /// Flux.1 Fill, which also takes the latents of the masked image and its mask.
    FluxFill,
    /// Flux.1 that also takes the latents of a control image (Canny, Depth).
    FluxControl,
    /// Flux.2 klein before its distillation.
    Flux2KleinBase,
    /// A UNet with an unknown number of input channels.
    UnknownInput,
}

impl ModelVariant {
    /// Its name: "inpainting", "SSD-1B".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ModelVariant::Base => "base",
            ModelVariant::Inpainting => "inpainting",
            ModelVariant::Pix2Pix => "pix2pix",
            ModelVariant::X4Upscaler => "x4 upscaler",
            ModelVariant::Depth => "depth",
            ModelVariant::UnClip => "unCLIP",
            ModelVariant::StableVideoDiffusion => "Stable Video Diffusion",
            ModelVariant::Zero123 => "Zero123",
            ModelVariant::Ssd1b => "SSD-1B",
            ModelVariant::Vega => "Vega",
            ModelVariant::Koala => "KOALA",
            ModelVariant::BkSdm => "BK-SDM",
            ModelVariant::Sdxs => "SDXS",
            ModelVariant::Edm => "EDM",
            ModelVariant::Sd3Medium => "medium",
            ModelVariant::Sd35Medium => "3.5 medium",
            ModelVariant::Sd35Large => "3.5 large",
            ModelVariant::FluxFill => "Fill",
            ModelVariant::FluxControl => "Control",
            ModelVariant::Flux2KleinBase => "klein base",
            ModelVariant::UnknownInput => "of an unknown number of input channels",
        }
    }

    /// Whether the UNet takes something else than text, noise and images of the same size, so that it cannot be used here.
    #[must_use]
    pub fn is_foreign(self) -> bool {
        use ModelVariant::{Depth, StableVideoDiffusion, UnClip, X4Upscaler, Zero123};
        matches!(self, StableVideoDiffusion | Zero123 | X4Upscaler | Depth | UnClip)
    }

    /// Whether the UNet has fewer layers than the published one of its family.
    pub(crate) fn is_pruned(self) -> bool {
        matches!(self, ModelVariant::Ssd1b | ModelVariant::Vega | ModelVariant::BkSdm | ModelVariant::Sdxs)
    }
}

impl fmt::Display for ModelVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
