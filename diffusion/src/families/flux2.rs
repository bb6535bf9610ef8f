//! Flux.2 klein (Black Forest Labs, 2026): Qwen3, latents of 32 channels of which four make one, and a rectified flow. Flux.2 dev has
//! the same network with another text encoder.

use super::family::{Family, FamilyWords, FlowShift, FlowTraining};
use super::flux::SHARED;
use super::latent_format::LatentFormat;
use crate::tensor_names::network_names::NetworkKind;
use crate::text::LanguageModelRole;
use crate::text::qwen3::FLUX_2_KLEIN;

/// The layer that embeds the guidance scale of dev.
const GUIDANCE: &str = "transformer.time_guidance_embed.guidance_embedder.";

/// Klein, distilled to four steps without guidance, and its base.
pub(super) static KLEIN: Family = Family {
    id: "flux2-klein",
    label: "Flux.2 klein",
    latent_format: LatentFormat::FLUX2,
    matches: |index| index.transformer() == Some(NetworkKind::Flux2) && !index.has(GUIDANCE),
    language_model: Some(LanguageModelRole::Qwen3(&FLUX_2_KLEIN)),
    flow: Some(FlowTraining {
        shift: FlowShift::ByTokensAndSteps,
        steps: 50,
        guidance: 4.0,
        few_steps: 4,
        is_usually_distilled: true,
    }),
    words: FamilyWords {
        lora_versions: &["flux2", "flux.2", "flux-2"],
        architectures: &["flux-2", "flux.2", "flux2"],
        is_vae_word: |word| word.contains("flux2"),
    },
    ..SHARED
};
