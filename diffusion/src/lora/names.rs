//! From the names of a LoRA file to a model's canonical names.

use std::collections::BTreeMap;

/// The names under which LoRA files know the layers of a model, with dots as underscores: to the layer's weight.
pub(super) fn known<'a>(weights: impl Iterator<Item = &'a str> + Clone) -> BTreeMap<String, &'a str> {
    let layers = weights.clone().filter_map(residual_block).max().map_or(0, |last| last + 1);
    let mut known = BTreeMap::new();
    for weight in weights {
        let Some((part, layer)) = weight.strip_suffix(".weight").and_then(|name| name.split_once('.')) else {
            continue;
        };
        let prefixes: &[&str] = match part {
            "unet" => &["lora_unet"],
            "text_encoder" => &["lora_te", "lora_te1"],
            "text_encoder_2" => &["lora_te2"],
            _ => continue,
        };
        for prefix in prefixes {
            known.insert(format!("{prefix}_{}", layer.replace('.', "_")), weight);
        }
        if let Some(original) = original(layer, layers).filter(|_| part == "unet") {
            let original = format!("lora_unet_{}", original.replace('.', "_"));
            // An upsampler is the third part of its block, or the second where there is no attention.
            if let Some(block) = original.strip_suffix("_2_conv") {
                known.insert(format!("{block}_1_conv"), weight);
            }
            known.insert(original, weight);
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

/// The name of a layer of the UNet in the original single files, `layers` residual blocks a level.
fn original(layer: &str, layers: usize) -> Option<String> {
    let parts: Vec<&str> = layer.splitn(5, '.').collect();
    let index = |at: usize| parts.get(at)?.parse::<usize>().ok();
    let rest = |from: usize| layer.splitn(from + 1, '.').nth(from);
    match parts[..] {
        ["conv_in"] => Some("input_blocks.0.0".into()),
        ["conv_out"] => Some("out.2".into()),
        ["time_embedding", "linear_1"] => Some("time_embed.0".into()),
        ["time_embedding", "linear_2"] => Some("time_embed.2".into()),
        ["add_embedding", "linear_1"] => Some("label_emb.0.0".into()),
        ["add_embedding", "linear_2"] => Some("label_emb.0.2".into()),
        ["mid_block", "resnets", ..] => {
            Some(format!("middle_block.{}.{}", index(2)?.checked_mul(2)?, resnet(rest(3)?)?))
        }
        ["mid_block", "attentions", ..] => Some(format!("middle_block.1.{}", rest(3)?)),
        ["down_blocks" | "up_blocks", _, kind, ..] => {
            let is_down = parts[0] == "down_blocks";
            let first = index(1)?.checked_mul(layers + 1)?;
            let (side, block) = if is_down {
                ("input_blocks", first + 1 + index(3)?)
            } else {
                ("output_blocks", first + index(3)?)
            };
            match kind {
                "resnets" => Some(format!("{side}.{block}.0.{}", resnet(rest(4)?)?)),
                "attentions" => Some(format!("{side}.{block}.1.{}", rest(4)?)),
                "downsamplers" => Some(format!("{side}.{}.0.op", first + layers + 1)),
                "upsamplers" => Some(format!("{side}.{}.2.conv", first + layers)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The parts of a residual block in the original.
fn resnet(part: &str) -> Option<&'static str> {
    match part {
        "conv1" => Some("in_layers.2"),
        "time_emb_proj" => Some("emb_layers.1"),
        "conv2" => Some("out_layers.3"),
        "conv_shortcut" => Some("skip_connection"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn original_names_of_the_unet() {
        for (layer, expected) in [
            ("down_blocks.0.resnets.1.conv1", "input_blocks.2.0.in_layers.2"),
            ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
            ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
            ("mid_block.resnets.1.time_emb_proj", "middle_block.2.emb_layers.1"),
            ("mid_block.attentions.0.proj_out", "middle_block.1.proj_out"),
            ("up_blocks.1.attentions.2.proj_out", "output_blocks.5.1.proj_out"),
            ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
            ("conv_in", "input_blocks.0.0"),
        ] {
            assert_eq!(original(layer, 2).as_deref(), Some(expected));
        }
        assert_eq!(original("down_blocks.x.resnets.0.conv1", 2), None);
        assert_eq!(original("", 2), None);
    }

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
