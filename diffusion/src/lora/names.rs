//! From the names of a LoRA file to a model's canonical names.

use crate::params::layout::QkvPart;
use crate::tensor_names::ldm;
use std::collections::BTreeMap;

/// A layer of the model that a LoRA may change: where its weight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoraTarget<'a> {
    /// Canonical name of the tensor.
    weight: &'a str,
    /// Which part of it, where queries, keys and values are fused (OpenCLIP in single files).
    pub(super) part: Option<QkvPart>,
}

impl LoraTarget<'_> {
    /// The tensor of its weight or of its bias, which may not exist.
    pub(super) fn tensor(&self, is_bias: bool) -> Option<String> {
        match is_bias {
            false => Some(self.weight.to_owned()),
            true => Some(format!("{}bias", self.weight.strip_suffix("weight")?)),
        }
    }
}

/// The names under which LoRA files know the layers of a model, with dots as underscores.
pub(super) fn known<'a>(weights: impl Iterator<Item = &'a str> + Clone) -> BTreeMap<String, LoraTarget<'a>> {
    let layers = weights.clone().filter_map(residual_block).max().map_or(0, |last| last + 1);
    let mut known = BTreeMap::new();
    for weight in weights {
        let Some((part, layer)) = weight.strip_suffix("weight").and_then(|name| name.split_once('.')) else {
            continue;
        };
        let prefixes: &[&str] = match part {
            "unet" => &["lora_unet"],
            "text_encoder" => &["lora_te", "lora_te1"],
            "text_encoder_2" => &["lora_te2"],
            _ => continue,
        };
        let mut add = |name: &str, part| {
            for prefix in prefixes {
                known.insert(format!("{prefix}_{}", name.replace('.', "_")), LoraTarget { weight, part });
            }
        };
        if let Some(attention) = layer.strip_suffix("in_proj_") {
            for part in QkvPart::ALL {
                add(&format!("{attention}{}", part.name()), Some(part));
            }
            continue;
        }
        let Some(layer) = layer.strip_suffix('.') else { continue };
        add(layer, None);
        if let Some(original) = ldm::unet_layer_from_canonical(layer, layers).filter(|_| part == "unet") {
            // An upsampler is the third module of its block, or the second where there is no attention.
            if let Some(block) = original.strip_suffix(".2.conv") {
                add(&format!("{block}.1.conv"), None);
            }
            add(&original, None);
        }
    }
    known
}

/// The name of a module of a file as [`known`] writes it.
pub(super) fn lookup(module: &str) -> String {
    let module = module.strip_prefix("base_model.model.").unwrap_or(module);
    if module.starts_with("lora_") {
        return module.replace('.', "_");
    }
    let (prefix, layer) = match module.split_once('.') {
        Some(("unet", layer)) => ("lora_unet", layer),
        Some(("text_encoder", layer)) => ("lora_te", layer),
        Some(("text_encoder_2", layer)) => ("lora_te2", layer),
        _ => ("lora_unet", module),
    };
    let is_text = prefix != "lora_unet";
    let layer = layer.replace(".processor.", ".");
    let layer = match layer.rsplit_once('.') {
        // diffusers before PEFT.
        Some((block, "to_out")) if !is_text => format!("{block}.to_out.0"),
        Some((block, part @ ("to_q" | "to_k" | "to_v"))) if is_text => format!("{block}.{}_proj", &part[3..]),
        Some((block, "to_out")) => format!("{block}.out_proj"),
        _ => layer,
    };
    let layer = if is_text && layer.starts_with("encoder.") { format!("text_model.{layer}") } else { layer };
    format!("{prefix}_{}", layer.replace('.', "_"))
}

/// The number of a residual block of the first level.
fn residual_block(weight: &str) -> Option<usize> {
    weight.strip_prefix("unet.down_blocks.0.resnets.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_diffusers_before_peft() {
        for (module, expected) in [
            ("unet.a.attn1.processor.to_out", "lora_unet_a_attn1_to_out_0"),
            (
                "text_encoder.encoder.layers.0.self_attn.to_q",
                "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
            ),
            ("text_encoder.text_model.x.self_attn.to_out", "lora_te_text_model_x_self_attn_out_proj"),
            ("text_encoder_2.text_model.x.q_proj", "lora_te2_text_model_x_q_proj"),
            ("lora_unet_x", "lora_unet_x"),
        ] {
            assert_eq!(lookup(module), expected);
        }
    }
}
