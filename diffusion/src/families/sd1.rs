//! Stable Diffusion 1.x: CLIP-L, 8 heads everywhere, projections as 1x1 convolutions.

use super::family::{AddedVector, DenoiserNetwork, Family, FamilyWords, TextUse};
use super::latent_format::LatentFormat;
use super::probe::unet_shape::UNetShape;
use super::published::{self, ModelSizes, PublishedModel};
use super::text_encoders::{CLIP_L, CLIP_L_SIZES};
use crate::samplers::Prediction;
use crate::schedule::Training;
use crate::unet::{Heads, UNetConfig};

/// Heads of every attention of the UNet, at every width.
const HEADS: Heads = Heads::Count(8);

pub(super) static FAMILY: Family = Family {
    id: "sd1",
    label: "Stable Diffusion 1.x",
    resolution: 512,
    network: DenoiserNetwork::UNet { heads: HEADS },
    latent_format: LatentFormat::SD,
    matches: |index| {
        let unet = UNetShape::of(index);
        unet.projection_rank == Some(4) && unet.added_dim.is_none()
    },
    variant_by_depth: UNetShape::pruned_variant,
    // All layers and the final norm.
    text_encoders: &[CLIP_L],
    language_model: None,
    text_use: TextUse::SideBySide,
    added_vector: AddedVector::None,
    zero_negative: false,
    prediction: Prediction::Epsilon,
    velocity_by_spread: None,
    flow: None,
    training: Training::scaled_linear,
    words: FamilyWords {
        lora_versions: &["sd_v1"],
        architectures: &["stable-diffusion-v1"],
        // The VAEs published for SD 1.x and 2.x, and others named after them: vae-ft-mse-840000, kl-f8-anime2.
        is_vae_word: |word| ["mse", "840000", "560000", "f8", "sd15"].contains(&word),
    },
    published: &[SD15, SDXS],
};

/// The model whose sizes all of the family have.
const SD15: PublishedModel = PublishedModel {
    id: "sd15",
    label: "Stable Diffusion 1.5",
    aliases: &["sd1", "sd1.5"],
    resolution: 512,
    sizes: || ModelSizes {
        text: vec![CLIP_L_SIZES],
        unet: UNetConfig {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            transformer_depth: vec![1, 1, 1, 0],
            up_depth: None,
            mid_depth: 1,
            mid_resnets: 2,
            only_cross_attention: Vec::new(),
            cross_attention_dim: 768,
            added_dim: None,
            time_cond_proj_dim: None,
            heads: HEADS,
        },
        vae: published::vae(&LatentFormat::SD),
    },
};

/// SDXS-512-DreamShaper, which draws in one step: three levels of one residual block each, no mid block, and no attention at the
/// finest level. It is published with a tiny VAE; the sizes here have the usual one.
const SDXS: PublishedModel = PublishedModel {
    id: "sdxs",
    label: "SDXS-512",
    aliases: &["sdxs-512", "sdxs-512-dreamshaper"],
    resolution: 512,
    sizes: || ModelSizes {
        text: vec![CLIP_L_SIZES],
        unet: UNetConfig {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280],
            layers_per_block: 1,
            transformer_depth: vec![0, 1, 1],
            up_depth: None,
            mid_depth: 0,
            mid_resnets: 0,
            only_cross_attention: Vec::new(),
            cross_attention_dim: 768,
            added_dim: None,
            time_cond_proj_dim: None,
            heads: HEADS,
        },
        vae: published::vae(&LatentFormat::SD),
    },
};
