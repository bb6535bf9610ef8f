//! Stable Diffusion 3 and 3.5: an MMDiT (Esser et al., Scaling Rectified Flow Transformers for High-Resolution Image Synthesis,
//! 2024), three text encoders of which any may be left out, and latents of 16 channels.

use super::family::{AddedVector, DenoiserNetwork, Family, FamilyWords, FlowShift, FlowTraining, TextUse};
use super::latent_format::LatentFormat;
use super::probe::variant::ModelVariant;
use super::text_encoders::{CLIP_L, OPEN_CLIP_BIG_G, TextEncoderRole};
use crate::samplers::Prediction;
use crate::schedule::Training;
use crate::tensor_names::network_names::NetworkKind;
use crate::text::LanguageModelRole;

/// Tokens of the texts that T5 reads (`max_sequence_length`).
const T5_TOKENS: usize = 256;

pub(super) static FAMILY: Family = Family {
    id: "sd3",
    label: "Stable Diffusion 3",
    resolution: 1024,
    network: DenoiserNetwork::Transformer,
    latent_format: LatentFormat::SD3,
    matches: |index| index.transformer() == Some(NetworkKind::Sd3),
    variant_by_depth: |_| ModelVariant::Base,
    // The layer before the last of both, without the final norm; both pooled texts.
    text_encoders: &[TextEncoderRole { skip: 2, final_norm: false, pooled: true, ..CLIP_L }, OPEN_CLIP_BIG_G],
    language_model: Some(LanguageModelRole::T5 { tokens: T5_TOKENS, masks_padding: false }),
    text_use: TextUse::AnyInSequence,
    added_vector: AddedVector::None,
    zero_negative: false,
    prediction: Prediction::Epsilon,
    velocity_by_spread: None,
    flow: Some(FlowTraining {
        shift: FlowShift::Fixed(3.0),
        steps: 28,
        guidance: 4.5,
        few_steps: 4,
        is_usually_distilled: false,
    }),
    training: Training::scaled_linear,
    words: FamilyWords {
        lora_versions: &["sd3"],
        architectures: &["stable-diffusion-3", "stable-diffusion-v3"],
        is_vae_word: |word| word.contains("sd3") || word == "sd35",
    },
    published: &[],
};
