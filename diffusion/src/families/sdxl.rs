//! Stable Diffusion XL, its Turbo, and smaller models of its kind: two text encoders, and a vector of sizes.

use super::family::{AddedVector, DenoiserNetwork, Family, FamilyWords, TextUse};
use super::latent_format::LatentFormat;
use super::probe::unet_shape::UNetShape;
use super::probe::variant::ModelVariant;
use super::published::{self, ModelSizes, PublishedModel};
use super::text_encoders::{CLIP_L, CLIP_L_SIZES, OPEN_CLIP_BIG_G, OPEN_CLIP_BIG_G_SIZES, TextEncoderRole};
use crate::samplers::Prediction;
use crate::schedule::Training;
use crate::text::TextConfig;
use crate::unet::{Heads, UNetConfig};

/// Heads of every attention of the UNet: as many as are 64 wide.
pub(super) const HEADS: Heads = Heads::Width(64);

pub(super) static FAMILY: Family = Family {
    id: "sdxl",
    label: "Stable Diffusion XL",
    resolution: 1024,
    network: DenoiserNetwork::UNet { heads: HEADS },
    latent_format: LatentFormat::SDXL,
    matches: |index| is_xl(&UNetShape::of(index), false),
    variant_by_depth: |unet| match unet {
        UNetShape { has_mid_attention: true, .. } => ModelVariant::Base,
        UNetShape { has_mid_block: false, .. } => ModelVariant::Koala,
        UNetShape { is_deep: true, .. } => ModelVariant::Ssd1b,
        _ => ModelVariant::Vega,
    },
    // The layer before the last of both, without the final norm; the pooled text of the second.
    text_encoders: &[TextEncoderRole { skip: 2, final_norm: false, ..CLIP_L }, OPEN_CLIP_BIG_G],
    language_model: None,
    text_use: TextUse::SideBySide,
    added_vector: AddedVector::Sizes,
    zero_negative: true,
    prediction: Prediction::Epsilon,
    velocity_by_spread: None,
    flow: None,
    training: Training::scaled_linear,
    words: FamilyWords {
        lora_versions: &["sdxl"],
        architectures: &["xl"],
        is_vae_word: |word| word.contains("sdxl") || word == "xl" || word == "pony",
    },
    published: &[SDXL_BASE],
};

/// Whether a UNet takes a vector and has no attention at the finest level. The refiner's has four levels.
pub(super) fn is_xl(unet: &UNetShape, has_fourth_level: bool) -> bool {
    unet.projection_rank.is_some()
        && unet.added_dim.is_some()
        && !unet.attends_first
        && unet.has_fourth_level == has_fourth_level
}

/// The published base model. The text that its UNet reads is that of both encoders side by side: 768 + 1280 wide; its
/// added vector is the second one's pooled text and six sizes: 1280 + 6 256.
const SDXL_BASE: PublishedModel = PublishedModel {
    id: "sdxl",
    label: "Stable Diffusion XL base 1.0",
    aliases: &["xl", "sdxl1.0", "sdxl-base"],
    resolution: 1024,
    sizes: || ModelSizes {
        // The last layer of the first encoder is not used.
        text: vec![TextConfig { layers: 11, ..CLIP_L_SIZES }, OPEN_CLIP_BIG_G_SIZES],
        unet: UNetConfig {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280],
            layers_per_block: 2,
            transformer_depth: vec![0, 2, 10],
            up_depth: None,
            mid_depth: 10,
            mid_resnets: 2,
            only_cross_attention: Vec::new(),
            cross_attention_dim: 2048,
            added_dim: Some(2816),
            time_cond_proj_dim: None,
            heads: HEADS,
        },
        vae: published::vae(&LatentFormat::SDXL),
    },
};
