//! The family that an addition to a model, or a text encoder alone, was made for.

use crate::families::family::Family;
use crate::families::registry;
use crate::tensor_names::lora_layers::{self, LoraNetwork};
use crate::tensor_names::network_names::NetworkKind;
use latent_loader::{Checkpoint, TensorInfo};

/// Beginnings of names that only LoRAs for two text encoders have.
const SECOND_ENCODER: [&str; 3] = ["lora_te2_", "lora_te1_", "text_encoder_2."];

/// Width of the hidden states of Stable Diffusion 3 medium and large, and of Flux.1.
const SD3_WIDTHS: [usize; 2] = [1536, 2432];
const FLUX_WIDTH: usize = 3072;

/// The family that a LoRA was made for: by its text encoders, its metadata, the width of the text that its cross-attentions
/// read, or the rank of its projections; one for a diffusion transformer by its metadata and its layers.
pub(super) fn of_lora(checkpoint: &Checkpoint) -> Option<&'static Family> {
    let names = || checkpoint.tensors().map(|tensor| tensor.name.as_str());
    match lora_layers::network(names()) {
        Some(LoraNetwork::Transformer(_) | LoraNetwork::AnyTransformer) => {
            let by_metadata = by_metadata(checkpoint).filter(|family| family.flow.is_some());
            let layers: Vec<_> = checkpoint
                .tensors()
                .map(|tensor| (tensor.name.as_str(), inputs(tensor, &tensor.name)))
                .collect();
            return by_metadata.or_else(|| of_transformer_lora(&layers));
        }
        Some(LoraNetwork::Other(_)) => return None,
        Some(LoraNetwork::UNet) | None => {}
    }
    if names().any(|name| SECOND_ENCODER.iter().any(|start| name.starts_with(start))) {
        return Some(registry::SDXL);
    }
    if let Some(family) = by_version(checkpoint) {
        return Some(family);
    }
    let key = down(checkpoint, "attn2_to_k").or_else(|| down(checkpoint, "attn2.to_k"))?;
    let by_width = registry::of_context_width(*key.shape.get(1)?);
    by_width.or_else(|| {
        let is_convolution = down(checkpoint, "proj_in")?.shape.len() == 4;
        is_convolution.then_some(registry::SD1)
    })
}

/// The family of a LoRA for a diffusion transformer, by the names of its layers and the width of what they read, where that is
/// known.
pub(crate) fn of_transformer_lora(layers: &[(&str, Option<usize>)]) -> Option<&'static Family> {
    let names = || layers.iter().map(|(name, _)| *name);
    let has = |part: &str| names().any(|name| name.contains(part));
    match lora_layers::network(names())? {
        LoraNetwork::Transformer(NetworkKind::Sd3) => Some(registry::SD3),
        LoraNetwork::Transformer(NetworkKind::Flux) if has("distilled_guidance_layer") => {
            Some(registry::CHROMA)
        }
        LoraNetwork::Transformer(NetworkKind::Flux) => Some(registry::FLUX),
        LoraNetwork::Transformer(NetworkKind::ZImage) => Some(registry::Z_IMAGE),
        LoraNetwork::AnyTransformer => {
            let is_query = |name: &str| name.contains("attn.to_q") || name.contains("attn_to_q");
            let width = layers.iter().find_map(|(name, width)| width.filter(|_| is_query(name)));
            match width {
                Some(width) if SD3_WIDTHS.contains(&width) => Some(registry::SD3),
                Some(FLUX_WIDTH) => Some(registry::FLUX),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The family that the metadata name: kohya's version of the base, or the architecture.
fn by_metadata(checkpoint: &Checkpoint) -> Option<&'static Family> {
    by_version(checkpoint).or_else(|| {
        let text = checkpoint.metadata().get("modelspec.architecture")?.to_lowercase();
        registry::families().find(|family| family.words.architectures.iter().any(|word| text.contains(word)))
    })
}

/// The family that kohya's metadata name; where several do, that of the longest name.
fn by_version(checkpoint: &Checkpoint) -> Option<&'static Family> {
    let version = checkpoint.metadata().get("ss_base_model_version").map_or("", String::as_str);
    let length = |family: &Family| {
        let fitting = family.words.lora_versions.iter().filter(|start| version.starts_with(**start));
        fitting.map(|start| start.len()).max()
    };
    // Of equal ones the last counts.
    let named = registry::families().rev().filter_map(|family| Some((length(family)?, family)));
    named.max_by_key(|(length, _)| *length).map(|(_, family)| family)
}

/// The width of what a layer reads, from its down projection.
fn inputs(tensor: &TensorInfo, name: &str) -> Option<usize> {
    DOWN.iter().any(|down| name.contains(down)).then(|| tensor.shape.get(1).copied()).flatten()
}

/// What the names of down projections contain.
const DOWN: [&str; 4] = ["lora_down", "lora_A", "lora.down", ".down."];

/// The down projection of a layer whose name contains `layer`.
fn down<'a>(checkpoint: &'a Checkpoint, layer: &str) -> Option<&'a TensorInfo> {
    checkpoint.tensors().find(|t| t.name.contains(layer) && DOWN.iter().any(|down| t.name.contains(down)))
}

/// The family that a textual inversion was made for, by the width of its vectors.
pub(super) fn of_embedding(checkpoint: &Checkpoint) -> Option<&'static Family> {
    let has = |name| checkpoint.get(name).is_some();
    if has("clip_g") {
        return Some(if has("clip_l") { registry::SDXL } else { registry::SDXL_REFINER });
    }
    registry::of_text_encoder_width(*checkpoint.tensors().next()?.shape.last()?)
}

/// The family that an IP-Adapter was made for, by the width of its tokens.
pub(super) fn of_ip_adapter(checkpoint: &Checkpoint) -> Option<&'static Family> {
    let key = checkpoint.tensors().find(|t| t.name.ends_with(".to_k_ip.weight"))?;
    registry::of_context_width(*key.shape.get(1)?)
}

/// The family that a Control-LoRA was made for: by the vector that only SDXL takes, or the width of the text.
pub(super) fn of_control_lora(checkpoint: &Checkpoint) -> Option<&'static Family> {
    if checkpoint.tensors().any(|t| t.name.contains("label_emb.") || t.name.contains("add_embedding.")) {
        return Some(registry::SDXL);
    }
    let key = checkpoint.tensors().find(|t| t.name.ends_with(".attn2.to_k.down"))?;
    registry::of_context_width(*key.shape.get(1)?)
}

/// The family that a ControlNet-LLLite was made for, where that can be seen: only SDXL has several transformer blocks in a row.
pub(super) fn of_lllite(checkpoint: &Checkpoint) -> Option<&'static Family> {
    checkpoint.tensors().any(|t| t.name.contains("_transformer_blocks_1_")).then_some(registry::SDXL)
}

/// The family that a text encoder belongs to, by its width.
pub(super) fn of_text_encoder(checkpoint: &Checkpoint) -> Option<&'static Family> {
    let table = checkpoint.tensors().find(|t| t.name.ends_with("token_embedding.weight"))?;
    registry::of_text_encoder_width(*table.shape.get(1)?)
}
