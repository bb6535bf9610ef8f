//! Stable Diffusion 2.x: OpenCLIP H, heads of 64 channels, linear projections.

use super::family::{AddedVector, DenoiserNetwork, Family, FamilyWords, SpreadRule, TextUse};
use super::latent_format::LatentFormat;
use super::probe::unet_shape::UNetShape;
use super::published::{self, ModelSizes, PublishedModel};
use super::text_encoders::{OPEN_CLIP_H, OPEN_CLIP_H_SIZES};
use crate::samplers::Prediction;
use crate::schedule::Training;
use crate::unet::{Heads, UNetConfig};

/// Heads of every attention of the UNet: as many as are 64 wide.
const HEADS: Heads = Heads::Width(64);

pub(super) static FAMILY: Family = Family {
    id: "sd2",
    label: "Stable Diffusion 2.x",
    resolution: 768,
    network: DenoiserNetwork::UNet { heads: HEADS },
    latent_format: LatentFormat::SD,
    matches: |index| {
        let unet = UNetShape::of(index);
        match unet.projection_rank {
            // A vector, and attentions at every level: unCLIP.
            Some(_) if unet.added_dim.is_some() => unet.attends_first,
            rank => rank == Some(2),
        }
    },
    variant_by_depth: UNetShape::pruned_variant,
    text_encoders: &[OPEN_CLIP_H],
    language_model: None,
    text_use: TextUse::SideBySide,
    added_vector: AddedVector::None,
    zero_negative: false,
    prediction: Prediction::Epsilon,
    // The last transformer block's first bias distinguishes the models for 768 pixels from those for 512.
    velocity_by_spread: Some(SpreadRule {
        tensor: "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias",
        max_of_epsilon: 0.09,
    }),
    flow: None,
    training: Training::scaled_linear,
    words: FamilyWords {
        lora_versions: &["sd_v2"],
        architectures: &["stable-diffusion-v2"],
        ..FamilyWords::NONE
    },
    published: &[SD21],
};

/// The published model that predicts the velocity, at 768 pixels.
const SD21: PublishedModel = PublishedModel {
    id: "sd21",
    label: "Stable Diffusion 2.1",
    aliases: &["sd2", "sd2.1", "sd21-v"],
    resolution: 768,
    sizes: || ModelSizes {
        text: vec![OPEN_CLIP_H_SIZES],
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
            cross_attention_dim: 1024,
            added_dim: None,
            time_cond_proj_dim: None,
            heads: HEADS,
        },
        vae: published::vae(&LatentFormat::SD),
    },
};
