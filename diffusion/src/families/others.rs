//! SD 2.x and SDXL, and families that are known by sight and cannot draw yet: so that an error and the inspector name them.

use super::{Facts, Family, Published, Sizes, VAE_SCALE, drawing, published, sd1, text};
use crate::unet::{Heads, UNetConfig};

/// UNet facts common to SD 1.x and SD 2.x: no vector beside the time.
fn plain(facts: &Facts<'_>, rank: usize, in_channels: usize) -> bool {
    facts.in_channels == Some(in_channels) && facts.proj_in_rank == Some(rank) && facts.added_dim.is_none()
}

/// The refiner has one text encoder and another vector (aesthetic score in place of the target size).
fn is_refiner(facts: &Facts<'_>) -> bool {
    let second = ["conditioner.embedders.1.", "text_encoder.", "cond_stage_model."];
    facts.added_dim.is_some()
        && !second.iter().any(|p| facts.has_prefix(p))
        && (facts.has_prefix("conditioner.embedders.0.model.")
            || facts.has_prefix("text_encoder_2.")
            || facts.model_channels == Some(384))
}

/// Heads of SD 2.x and SDXL: as many as are 64 wide.
const HEADS: Heads = Heads::Width(64);
/// Latents of SDXL's VAE times this have unit variance.
const SDXL_VAE_SCALE: f32 = 0.13025;

const fn known(
    id: &'static str,
    label: &'static str,
    resolution: usize,
    (heads, vae_scale): (Heads, f32),
    text: &'static [text::Role],
    matches: fn(&Facts<'_>) -> bool,
) -> Family {
    Family { id, label, resolution, heads, vae_scale, text, matches, build: None }
}

/// SD 1.x that fills in parts of a picture: latent, mask and masked picture.
pub(super) static SD1_INPAINT: Family = known(
    "sd1-inpaint",
    "Stable Diffusion 1.x inpainting",
    512,
    (sd1::HEADS, VAE_SCALE),
    text::SD1,
    |facts| plain(facts, 4, 9),
);
/// SD 1.x that changes a picture by an instruction: latent and picture.
pub(super) static SD1_PIX2PIX: Family = known(
    "sd1-pix2pix",
    "Stable Diffusion 1.x InstructPix2Pix",
    512,
    (sd1::HEADS, VAE_SCALE),
    text::SD1,
    |facts| plain(facts, 4, 8),
);
/// SD 2.x: linear projections, OpenCLIP.
pub(super) static SD2: Family = Family {
    build: Some(drawing::sd2),
    ..known("sd2", "Stable Diffusion 2.x", 768, (HEADS, VAE_SCALE), text::SD2, |facts| {
        plain(facts, 2, 4) || plain(facts, 2, 9)
    })
};
/// SDXL: two text encoders, a vector of sizes.
pub(super) static SDXL: Family = Family {
    build: Some(drawing::sdxl),
    ..known("sdxl", "Stable Diffusion XL", 1024, (HEADS, SDXL_VAE_SCALE), text::SDXL, |facts| {
        facts.added_dim.is_some() && !is_refiner(facts)
    })
};
/// The second model of SDXL.
pub(super) static SDXL_REFINER: Family = known(
    "sdxl-refiner",
    "Stable Diffusion XL refiner",
    1024,
    (HEADS, SDXL_VAE_SCALE),
    text::SDXL_REFINER,
    is_refiner,
);

/// The published model that predicts the velocity, at 768 pixels.
pub(super) static SD21: Published = Published {
    id: "sd21",
    label: "Stable Diffusion 2.1",
    aliases: &["sd2", "sd2.1", "sd21-v"],
    resolution: 768,
    sizes: || Sizes {
        text: vec![published::OPEN_CLIP_H],
        unet: UNetConfig {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            transformer_depth: vec![1, 1, 1, 0],
            mid_depth: 1,
            cross_attention_dim: 1024,
            added_dim: None,
            heads: HEADS,
        },
        vae: published::vae(VAE_SCALE),
    },
};

/// The published base model of SDXL. Its text states are those of both encoders side by side: 768 + 1280 wide; its
/// added vector is the second one's pooled text and six sizes: 1280 + 6 256.
pub(super) static SDXL_BASE: Published = Published {
    id: "sdxl",
    label: "Stable Diffusion XL base 1.0",
    aliases: &["xl", "sdxl1.0", "sdxl-base"],
    resolution: 1024,
    sizes: || Sizes {
        text: vec![published::CLIP_L, published::OPEN_CLIP_BIG_G],
        unet: UNetConfig {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280],
            layers_per_block: 2,
            transformer_depth: vec![0, 2, 10],
            mid_depth: 10,
            cross_attention_dim: 2048,
            added_dim: Some(2816),
            heads: HEADS,
        },
        vae: published::vae(SDXL_VAE_SCALE),
    },
};
