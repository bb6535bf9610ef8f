//! How the latents of a family are to be read.

use crate::preview::{self, LatentRgb};

/// How the latents of a family are to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LatentFormat {
    /// Channels of a latent.
    pub channels: usize,
    /// Elements of the VAE's own latents along the side of a latent's, whose channels contain them: 1 but for Flux.2.
    pub packing: usize,
    /// The VAE's latents, less `shift`, times this have unit variance.
    pub scale: f32,
    /// The mean of the VAE's latents.
    pub shift: f32,
    /// Whether their VAEs have 1x1 convolutions next to the latents (`use_quant_conv`).
    pub has_quant_conv: bool,
    /// What they look like, roughly: the matrix of the preview.
    pub rgb: LatentRgb,
}

impl LatentFormat {
    /// Latents of SD 1.x and 2.x, which share a VAE.
    pub const SD: LatentFormat = LatentFormat {
        channels: 4,
        packing: 1,
        scale: 0.18215,
        shift: 0.0,
        has_quant_conv: true,
        rgb: preview::SD,
    };
    /// Latents of SDXL and its refiner.
    pub const SDXL: LatentFormat = LatentFormat {
        channels: 4,
        packing: 1,
        scale: 0.13025,
        shift: 0.0,
        has_quant_conv: true,
        rgb: preview::SDXL,
    };
    /// Latents of SD 3 and 3.5.
    pub const SD3: LatentFormat = LatentFormat {
        channels: 16,
        packing: 1,
        scale: 1.5305,
        shift: 0.0609,
        has_quant_conv: false,
        rgb: preview::SD3,
    };
    /// Latents of Flux.1, Chroma and Z-Image.
    pub const FLUX: LatentFormat = LatentFormat {
        channels: 16,
        packing: 1,
        scale: 0.3611,
        shift: 0.1159,
        has_quant_conv: false,
        rgb: preview::FLUX,
    };
    /// Latents of Flux.2, which are 2x2 elements of 32 channels each, and have statistics of their own in place of a scale.
    pub const FLUX2: LatentFormat = LatentFormat {
        channels: 128,
        packing: 2,
        scale: 1.0,
        shift: 0.0,
        has_quant_conv: true,
        rgb: preview::FLUX2,
    };

    /// Whether latents of that scale are of this format.
    pub(crate) fn has_scale(&self, scale: f32) -> bool {
        const TOLERANCE: f32 = 1e-4;
        (self.scale - scale).abs() < TOLERANCE
    }
}
