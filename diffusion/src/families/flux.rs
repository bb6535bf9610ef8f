//! Flux.1 (Black Forest Labs, 2024) and Chroma, which was made of it: T5, latents of 16 channels, and a rectified flow.

use super::family::{AddedVector, DenoiserNetwork, Family, FamilyWords, FlowShift, FlowTraining, TextUse};
use super::latent_format::LatentFormat;
use super::probe::variant::ModelVariant;
use super::text_encoders::{CLIP_L, PooledProjection, TextEncoderRole};
use crate::samplers::Prediction;
use crate::schedule::Training;
use crate::tensor_names::network_names::NetworkKind;
use crate::text::LanguageModelRole;

/// Tokens of the texts that T5 reads (`max_sequence_length`).
const T5_TOKENS: usize = 512;
/// The layer that makes Chroma's modulations, in place of Flux's pooled text.
const APPROXIMATOR: &str = "transformer.distilled_guidance_layer.";

/// The layer that embeds the guidance scale, in the model that was distilled with it (dev).
const GUIDANCE: &str = "transformer.time_text_embed.guidance_embedder.";
/// Farther for larger images: of the models that were not distilled to few steps.
const SHIFT: FlowShift = FlowShift::ByTokens { base: 0.5, max: 1.15 };

/// Flux.1 dev, and what was made of it (Fill, Kontext, Krea).
pub(super) static DEV: Family = Family {
    id: "flux",
    label: "Flux.1 dev",
    matches: |index| {
        index.transformer() == Some(NetworkKind::Flux) && !index.has(APPROXIMATOR) && index.has(GUIDANCE)
    },
    flow: Some(FlowTraining {
        shift: SHIFT,
        steps: 20,
        guidance: 3.5,
        few_steps: 8,
        is_usually_distilled: false,
    }),
    ..FLUX
};

/// Flux.1 schnell, which draws in few steps.
pub(super) static SCHNELL: Family = Family {
    id: "flux-schnell",
    label: "Flux.1 schnell",
    matches: |index| {
        index.transformer() == Some(NetworkKind::Flux) && !index.has(APPROXIMATOR) && !index.has(GUIDANCE)
    },
    flow: Some(FlowTraining {
        shift: FlowShift::Fixed(1.0),
        steps: 4,
        guidance: 1.0,
        few_steps: 4,
        is_usually_distilled: false,
    }),
    words: FamilyWords { lora_versions: &["flux1-schnell"], ..FamilyWords::NONE },
    ..FLUX
};

/// What both have.
const FLUX: Family = Family {
    // Of CLIP-L the pooled text alone, without a projection.
    text_encoders: &[TextEncoderRole { pooled: true, projection: PooledProjection::Never, ..CLIP_L }],
    language_model: Some(LanguageModelRole::T5 { tokens: T5_TOKENS, masks_padding: false }),
    words: FamilyWords {
        lora_versions: &["flux"],
        architectures: &["flux-1", "flux.1"],
        is_vae_word: |word| (word.contains("flux") && !word.contains("flux2")) || word == "ae",
    },
    ..SHARED
};

/// Chroma, without a pooled text, and not distilled.
pub(super) static CHROMA: Family = Family {
    id: "chroma",
    label: "Chroma",
    matches: |index| index.transformer() == Some(NetworkKind::Flux) && index.has(APPROXIMATOR),
    language_model: Some(LanguageModelRole::T5 { tokens: T5_TOKENS, masks_padding: true }),
    flow: Some(FlowTraining {
        shift: SHIFT,
        steps: 26,
        guidance: 4.0,
        few_steps: 8,
        is_usually_distilled: false,
    }),
    words: FamilyWords { lora_versions: &["chroma"], architectures: &["chroma"], ..FamilyWords::NONE },
    ..SHARED
};

/// What Flux.1 and the families with its latents share.
pub(super) const SHARED: Family = Family {
    id: "",
    label: "",
    resolution: 1024,
    network: DenoiserNetwork::Transformer,
    latent_format: LatentFormat::FLUX,
    matches: |_| false,
    variant_by_depth: |_| ModelVariant::Base,
    text_encoders: &[],
    language_model: None,
    text_use: TextUse::Language,
    added_vector: AddedVector::None,
    zero_negative: false,
    prediction: Prediction::Epsilon,
    velocity_by_spread: None,
    flow: None,
    training: Training::scaled_linear,
    words: FamilyWords::NONE,
    published: &[],
};
