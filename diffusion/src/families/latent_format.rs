//! How the latents of a family are to be read.

use crate::preview::{self, LatentRgb};

/// How the latents of a family are to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LatentFormat {
    /// Channels of a latent.
    pub channels: usize,
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
        scale: 0.18215,
        shift: 0.0,
        has_quant_conv: true,
        rgb: preview::SD,
        tiny_vae: "taesd",
    };
    /// Latents of SDXL and its refiner.
    pub const SDXL: LatentFormat = LatentFormat {
        channels: 4,
        scale: 0.13025,
        shift: 0.0,
        has_quant_conv: true,
        rgb: preview::SDXL,
        tiny_vae: "taesdxl",
    };
    /// Latents of SD 3 and 3.5.
    pub const SD3: LatentFormat = LatentFormat {
        channels: 16,
        scale: 1.5305,
        shift: 0.0609,
        has_quant_conv: false,
        rgb: preview::SD3,
        tiny_vae: "taesd3",
    };
    /// Latents of Flux.1, Chroma and Z-Image.
    pub const FLUX: LatentFormat = LatentFormat {
        channels: 16,
        scale: 0.3611,
        shift: 0.1159,
        has_quant_conv: false,
        rgb: preview::FLUX,
        tiny_vae: "taef1",
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
