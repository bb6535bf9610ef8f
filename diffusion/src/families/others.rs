//! SD 2.x, SDXL and its refiner.

use super::{
    Base, Facts, Family, Input, LATENT_CHANNELS, Published, Sizes, VAE_SCALE, drawing, published, text,
};
use crate::preview;
use crate::text::TextConfig;
use crate::unet::{Heads, UNetConfig};

/// UNet facts common to SD 1.x and SD 2.x, whatever is beside the latent: no vector beside the time.
pub(super) fn plain(facts: &Facts<'_>, rank: usize) -> bool {
    let is_known = facts.in_channels.is_some_and(|channels| Input::of(channels, LATENT_CHANNELS).is_some());
    is_known && facts.proj_in_rank == Some(rank) && facts.added_dim.is_none()
}

/// Heads of SD 2.x and SDXL: as many as are 64 wide.
const HEADS: Heads = Heads::Width(64);
/// Latents of SDXL's VAE times this have unit variance.
const SDXL_VAE_SCALE: f32 = 0.13025;

/// SD 2.x: linear projections, OpenCLIP.
pub(super) static SD2: Family = Family {
    id: "sd2",
    label: "Stable Diffusion 2.x",
    resolution: 768,
    heads: HEADS,
    vae_scale: VAE_SCALE,
    latent_rgb: preview::SD,
    text: text::SD2,
    matches: |facts| plain(facts, 2),
    build: drawing::sd2,
};
/// SDXL: two text encoders, a vector of sizes.
pub(super) static SDXL: Family = Family {
    id: "sdxl",
    label: "Stable Diffusion XL",
    resolution: 1024,
    heads: HEADS,
    vae_scale: SDXL_VAE_SCALE,
    latent_rgb: preview::SDXL,
    text: text::SDXL,
    matches: |facts| facts.base == Some(Base::Sdxl),
    build: drawing::sdxl,
};
/// The second model of SDXL: four levels, and another vector (aesthetic score in place of the target size).
pub(super) static SDXL_REFINER: Family = Family {
    id: "sdxl-refiner",
    label: "Stable Diffusion XL refiner",
    text: text::SDXL_REFINER,
    matches: |facts| facts.base == Some(Base::SdxlRefiner),
    build: drawing::sdxl_refiner,
    ..SDXL
};

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
            up_depth: None,
            mid_depth: 1,
            mid_resnets: 2,
            cross_attention_dim: 1024,
            added_dim: None,
            time_cond_proj_dim: None,
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
        // Of the first one the last layer is not used.
        text: vec![TextConfig { layers: 11, ..published::CLIP_L }, published::OPEN_CLIP_BIG_G],
        unet: UNetConfig {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280],
            layers_per_block: 2,
            transformer_depth: vec![0, 2, 10],
            up_depth: None,
            mid_depth: 10,
            mid_resnets: 2,
            cross_attention_dim: 2048,
            added_dim: Some(2816),
            time_cond_proj_dim: None,
            heads: HEADS,
        },
        vae: published::vae(SDXL_VAE_SCALE),
    },
};
