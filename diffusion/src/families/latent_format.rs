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
    /// The name of the TAESD that decodes them. All of the same channels have the same shapes.
    pub tiny_vae: &'static str,
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
        tiny_vae: "taesd",
    };
    /// Latents of SDXL and its refiner.
    pub const SDXL: LatentFormat = LatentFormat {
        channels: 4,
        packing: 1,
        scale: 0.13025,
        shift: 0.0,
        has_quant_conv: true,
        rgb: preview::SDXL,
        tiny_vae: "taesdxl",
    };
    /// Latents of SD 3 and 3.5.
    pub const SD3: LatentFormat = LatentFormat {
        channels: 16,
        packing: 1,
        scale: 1.5305,
        shift: 0.0609,
        has_quant_conv: false,
        rgb: preview::SD3,
        tiny_vae: "taesd3",
    };
    /// Latents of Flux.1, Chroma and Z-Image.
    pub const FLUX: LatentFormat = LatentFormat {
        channels: 16,
        packing: 1,
        scale: 0.3611,
        shift: 0.1159,
        has_quant_conv: false,
        rgb: preview::FLUX,
        tiny_vae: "taef1",
    };
    /// Latents of Flux.2, which are 2x2 elements of 32 channels each, and have statistics of their own in place of a scale.
    pub const FLUX2: LatentFormat = LatentFormat {
        channels: 128,
        packing: 2,
        scale: 1.0,
        shift: 0.0,
        has_quant_conv: true,
        rgb: preview::FLUX2,
        tiny_vae: "taef2",
    };

    /// The format of latents that a TAESD of that path decodes, by the nearest name of one in it: of its file, or of a folder that it
    /// is in.
    pub(crate) fn of_tiny_vae(path: &str) -> Option<LatentFormat> {
        const ALL: [LatentFormat; 4] =
            [LatentFormat::SD, LatentFormat::SDXL, LatentFormat::SD3, LatentFormat::FLUX];
        let path = path.to_lowercase();
        let words = path.rsplit(|c: char| !c.is_alphanumeric());
        words.into_iter().find_map(|word| ALL.into_iter().find(|format| format.tiny_vae == word))
    }

    /// Whether latents of that scale are of this format.
    pub(crate) fn has_scale(&self, scale: f32) -> bool {
        const TOLERANCE: f32 = 1e-4;
        (self.scale - scale).abs() < TOLERANCE
    }
}
