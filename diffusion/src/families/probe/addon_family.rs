//! The family that an addition to a model, or a text encoder alone, was made for.

use crate::families::family::Family;
use crate::families::registry;
use latent_loader::{Checkpoint, TensorInfo};

/// Beginnings of names that only LoRAs for two text encoders have.
const SECOND_ENCODER: [&str; 3] = ["lora_te2_", "lora_te1_", "text_encoder_2."];

/// The family that a LoRA was made for: by its text encoders, its metadata, the width of the text that its cross-attentions
/// read, or the rank of its projections.
pub(super) fn of_lora(checkpoint: &Checkpoint) -> Option<&'static Family> {
    if checkpoint.tensors().any(|t| SECOND_ENCODER.iter().any(|start| t.name.starts_with(start))) {
        return Some(registry::SDXL);
    }
    let version = checkpoint.metadata().get("ss_base_model_version").map_or("", String::as_str);
    let is_named =
        |family: &&Family| family.words.lora_versions.iter().any(|start| version.starts_with(start));
    if let Some(family) = registry::families().find(is_named) {
        return Some(family);
    }
    let key = down(checkpoint, "attn2_to_k").or_else(|| down(checkpoint, "attn2.to_k"))?;
    let by_width = registry::of_context_width(*key.shape.get(1)?);
    by_width.or_else(|| {
        let is_convolution = down(checkpoint, "proj_in")?.shape.len() == 4;
        is_convolution.then_some(registry::SD1)
    })
}

/// The down projection of a layer whose name contains `layer`.
fn down<'a>(checkpoint: &'a Checkpoint, layer: &str) -> Option<&'a TensorInfo> {
    const DOWN: [&str; 3] = ["lora_down", "lora_A", "lora.down"];
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
