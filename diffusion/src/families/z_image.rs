//! Z-Image (Tongyi Lab, "Z-Image: an efficient image generation foundation model with single-stream diffusion transformer",
//! 2025): Qwen3-4B, the latents of Flux.1, and a rectified flow.

use super::family::{Family, FamilyWords, FlowShift, FlowTraining};
use super::flux::SHARED;
use crate::tensor_names::network_names::NetworkKind;
use crate::text::LanguageModelRole;
use crate::text::qwen3::Z_IMAGE;

pub(super) static FAMILY: Family = Family {
    id: "z-image",
    label: "Z-Image",
    matches: |index| index.transformer() == Some(NetworkKind::ZImage),
    language_model: Some(LanguageModelRole::Qwen3(&Z_IMAGE)),
    flow: Some(FlowTraining {
        shift: FlowShift::Fixed(3.0),
        steps: 30,
        guidance: 4.0,
        few_steps: 8,
        is_usually_distilled: false,
    }),
    words: FamilyWords {
        lora_versions: &["zimage", "z-image"],
        architectures: &["z-image", "zimage"],
        is_vae_word: |_| false,
    },
    ..SHARED
};
