//! From the names of a LoRA file to a model's canonical names.

use crate::params::layout::QkvPart;
use crate::tensor_names::prefixes::{TensorPart, TextSlot, locate};
use crate::tensor_names::{ldm, text_encoder};
use std::collections::BTreeMap;

/// A layer of the model that a LoRA may change: where its weight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoraTarget<'a> {
    /// Canonical name of the tensor.
    weight: &'a str,
    /// How the layer's weight is in it.
    pub(super) place: TargetPlace,
}

/// How the weight of a layer is in a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetPlace {
    /// It is the tensor.
    Whole,
    /// It is a part, where queries, keys and values are fused (OpenCLIP in single files).
    Part(QkvPart),
    /// It is the transposed tensor (OpenCLIP's text projection).
    Transposed,
}

impl LoraTarget<'_> {
    /// The tensor of its weight or of its bias, which may not exist.
    pub(super) fn tensor(&self, is_bias: bool) -> Option<String> {
        match is_bias {
            false => Some(self.weight.to_owned()),
            true => Some(format!("{}bias", self.weight.strip_suffix("weight")?)),
        }
    }

    /// The shape of the layer's weight, or of its bias, from that of the tensor.
    pub(super) fn shape(&self, tensor: &[usize]) -> Vec<usize> {
        let mut shape = tensor.to_vec();
        match (self.place, &mut shape[..]) {
            (TargetPlace::Part(_), [rows, ..]) => *rows /= 3,
            (TargetPlace::Transposed, shape) => shape.reverse(),
            _ => {}
        }
        shape
    }
}

/// The names under which LoRA files know the layers of a model, with dots as underscores.
pub(super) fn known<'a>(weights: impl Iterator<Item = &'a str> + Clone) -> BTreeMap<String, LoraTarget<'a>> {
    let layers = weights.clone().filter_map(residual_block).max().map_or(0, |last| last + 1);
    let mut known = BTreeMap::new();
    for weight in weights {
        let Some((part, name)) = weight.split_once('.') else { continue };
        let prefixes: &[&str] = match part {
            "unet" => &["lora_unet"],
            "text_encoder" => &["lora_te", "lora_te1"],
            "text_encoder_2" => &["lora_te2"],
            _ => continue,
        };
        let mut add = |name: &str, place| {
            for prefix in prefixes {
                known.insert(format!("{prefix}_{}", name.replace('.', "_")), LoraTarget { weight, place });
            }
        };
        if name == "text_projection" {
            add(name, TargetPlace::Transposed);
        }
        let Some(layer) = name.strip_suffix("weight") else { continue };
        if let Some(attention) = layer.strip_suffix("in_proj_") {
            for part in QkvPart::ALL {
                add(&format!("{attention}{}", part.name()), TargetPlace::Part(part));
            }
            add(&format!("{attention}in_proj"), TargetPlace::Whole);
            continue;
        }
        let Some(layer) = layer.strip_suffix('.') else { continue };
        add(layer, TargetPlace::Whole);
        if let Some(original) = ldm::unet_layer_from_canonical(layer, layers).filter(|_| part == "unet") {
            // An upsampler is the third module of its block, or the second where there is no attention.
            if let Some(block) = original.strip_suffix(".2.conv") {
                add(&format!("{block}.1.conv"), TargetPlace::Whole);
            }
            add(&original, TargetPlace::Whole);
        }
    }
    known
}

/// Beginnings of the names of modules without dots, other than those of [`known`], and what they mean there: of kohya's OFT, and
/// of LyCORIS without a trainer around it.
const UNDERSCORED: [(&str, &str); 4] = [
    ("oft_unet_", "lora_unet_"),
    ("lycoris_unet_", "lora_unet_"),
    ("lycoris_text_model_", "lora_te_text_model_"),
    ("lycoris_", "lora_unet_"),
];

/// The names of a module of a file as [`known`] writes them: several where the file does not say which text encoder it means.
pub(super) fn lookup(module: &str) -> Vec<String> {
    let module = module.strip_prefix("base_model.model.").unwrap_or(module);
    if module.starts_with("lora_") {
        return vec![module.replace('.', "_")];
    }
    if let Some((start, meant)) = UNDERSCORED.iter().find(|(start, _)| module.starts_with(start)) {
        return vec![format!("{meant}{}", module[start.len()..].replace('.', "_"))];
    }
    // ComfyUI names the UNet as it is in memory.
    let below =
        module.strip_prefix("model.diffusion_model.").or_else(|| module.strip_prefix("diffusion_model."));
    let (part, layer) = below.map_or_else(|| locate(module), |below| (TensorPart::UNet, below));
    let prefixes: &[&str] = match part {
        TensorPart::Text(TextSlot::First) => &["lora_te"],
        TensorPart::Text(TextSlot::Second) => &["lora_te2"],
        TensorPart::Text(TextSlot::Unknown) => &["lora_te", "lora_te2"],
        TensorPart::UNet => &["lora_unet"],
        _ => return vec![format!("lora_unet_{}", module.replace('.', "_"))],
    };
    let layer = layer.replace(".processor.", ".");
    let layer = match layer.rsplit_once('.') {
        // diffusers before PEFT.
        Some((block, "to_out")) if part == TensorPart::UNet => format!("{block}.to_out.0"),
        Some((block, kind @ ("to_q" | "to_k" | "to_v"))) if part != TensorPart::UNet => {
            format!("{block}.{}_proj", &kind[3..])
        }
        Some((block, "to_out")) => format!("{block}.out_proj"),
        _ => layer,
    };
    let canonical = match part {
        TensorPart::UNet => None,
        _ => text_encoder::to_canonical(&format!("{layer}.weight")),
    };
    let canonical = canonical.as_ref().and_then(|(name, _)| name.strip_suffix(".weight"));
    let layer = canonical.unwrap_or(&layer).replace('.', "_");
    prefixes.iter().map(|prefix| format!("{prefix}_{layer}")).collect()
}

/// The number of a residual block of the first level.
fn residual_block(weight: &str) -> Option<usize> {
    weight.strip_prefix("unet.down_blocks.0.resnets.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_programs() {
        let text = "text_model_encoder_layers_0_self_attn_q_proj";
        for (module, expected) in [
            ("unet.a.attn1.processor.to_out", "lora_unet_a_attn1_to_out_0".to_owned()),
            ("text_encoder.encoder.layers.0.self_attn.to_q", format!("lora_te_{text}")),
            (
                "text_encoder.text_model.encoder.layers.0.self_attn.to_out",
                "lora_te_text_model_encoder_layers_0_self_attn_out_proj".into(),
            ),
            ("text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj", format!("lora_te2_{text}")),
            ("lora_unet_x", "lora_unet_x".into()),
            ("oft_unet_x", "lora_unet_x".into()),
            ("lycoris_x", "lora_unet_x".into()),
            ("diffusion_model.input_blocks.1.1.proj_in", "lora_unet_input_blocks_1_1_proj_in".into()),
            ("model.diffusion_model.out.2", "lora_unet_out_2".into()),
            ("down_blocks.0.x", "lora_unet_down_blocks_0_x".into()),
            ("base_model.model.mid_block.x", "lora_unet_mid_block_x".into()),
            (
                "text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj",
                format!("lora_te_{text}"),
            ),
            ("clip_g.transformer.text_model.encoder.layers.0.self_attn.q_proj", format!("lora_te2_{text}")),
            ("text_encoders.clip_g.transformer.text_projection", "lora_te2_text_projection".into()),
            (
                "conditioner.embedders.1.model.transformer.resblocks.3.mlp.c_fc",
                "lora_te2_text_model_encoder_layers_3_mlp_fc1".into(),
            ),
        ] {
            assert_eq!(lookup(module), [expected], "{module}");
        }
        let unknown = lookup("base_model.model.text_model.encoder.layers.0.self_attn.q_proj");
        assert_eq!(unknown, [format!("lora_te_{text}"), format!("lora_te2_{text}")]);
    }
}
