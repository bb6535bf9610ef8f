//! From the canonical names, which are those of diffusers, back to those of the original (LDM) single files.
//!
//! Each is the inverse of its namesake in [`names`](super::names).

/// The name of a tensor of the UNet below `model.diffusion_model.`, `layers` residual blocks a level. `attends` tells
/// whether the last layer of a level on the way up has an attention: there the upsampler has another number.
pub(crate) fn unet(name: &str, layers: usize, attends: impl Fn(usize) -> bool) -> Option<String> {
    let (layer, leaf) = name.rsplit_once('.')?;
    let original = unet_layer(layer, layers)?;
    let level = || layer.split('.').nth(1)?.parse().ok();
    match original.strip_suffix(".2.conv") {
        Some(block) if !attends(level()?) => Some(format!("{block}.1.conv.{leaf}")),
        _ => Some(format!("{original}.{leaf}")),
    }
}

/// The name of a layer of the UNet below `model.diffusion_model.`, `layers` residual blocks a level. An upsampler is the
/// third part of its block, as where there is an attention before it.
pub(crate) fn unet_layer(layer: &str, layers: usize) -> Option<String> {
    let parts: Vec<&str> = layer.splitn(5, '.').collect();
    let index = |at: usize| parts.get(at)?.parse::<usize>().ok();
    let rest = |from: usize| layer.splitn(from + 1, '.').nth(from);
    match parts[..] {
        ["conv_in"] => Some("input_blocks.0.0".into()),
        ["conv_norm_out"] => Some("out.0".into()),
        ["conv_out"] => Some("out.2".into()),
        ["time_embedding", "linear_1"] => Some("time_embed.0".into()),
        ["time_embedding", "linear_2"] => Some("time_embed.2".into()),
        ["time_embedding", "cond_proj"] => Some("time_embed.cond_proj".into()),
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
        "norm1" => Some("in_layers.0"),
        "conv1" => Some("in_layers.2"),
        "time_emb_proj" => Some("emb_layers.1"),
        "norm2" => Some("out_layers.0"),
        "conv2" => Some("out_layers.3"),
        "conv_shortcut" => Some("skip_connection"),
        _ => None,
    }
}

/// The name of a tensor of the VAE below `first_stage_model.`, of `levels` levels.
pub(crate) fn vae(name: &str, levels: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let level = |direction: &str, level: &str| {
        let level = level.parse::<usize>().ok()?;
        if direction == "up_blocks" { levels.checked_sub(level + 1) } else { Some(level) }
    };
    match parts[..] {
        ["quant_conv" | "post_quant_conv", _] | [_, "conv_in" | "conv_out", _] => Some(name.to_owned()),
        [side, "conv_norm_out", leaf] => Some(format!("{side}.norm_out.{leaf}")),
        [side, "mid_block", "attentions", "0", "to_out", "0", leaf] => {
            Some(format!("{side}.mid.attn_1.proj_out.{leaf}"))
        }
        [side, "mid_block", "attentions", "0", part, leaf] => {
            let part = match part {
                "group_norm" => "norm",
                "to_q" | "to_k" | "to_v" => &part[3..],
                _ => return None,
            };
            Some(format!("{side}.mid.attn_1.{part}.{leaf}"))
        }
        [side, "mid_block", "resnets", block, part, leaf] => {
            Some(format!("{side}.mid.block_{}.{part}.{leaf}", block.parse::<usize>().ok()?.checked_add(1)?))
        }
        [side, direction @ ("down_blocks" | "up_blocks"), at, "resnets", layer, part, leaf] => {
            let (to, at) = (&direction[..direction.len() - 7], level(direction, at)?);
            let part = if part == "conv_shortcut" { "nin_shortcut" } else { part };
            Some(format!("{side}.{to}.{at}.block.{layer}.{part}.{leaf}"))
        }
        [side, direction @ ("down_blocks" | "up_blocks"), at, sampler, "0", "conv", leaf] => {
            let (to, at) = (&direction[..direction.len() - 7], level(direction, at)?);
            Some(format!("{side}.{to}.{at}.{}.conv.{leaf}", sampler.strip_suffix("rs")?))
        }
        _ => None,
    }
}

/// The name of a tensor of a text encoder below `model.` of OpenCLIP. Queries, keys and values, which lie in one tensor
/// there, have none.
pub(crate) fn open_clip(name: &str) -> Option<String> {
    let name = match name {
        "text_projection" => "text_projection",
        "text_model.embeddings.token_embedding.weight" => "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight" => "positional_embedding",
        "text_model.final_layer_norm.weight" => "ln_final.weight",
        "text_model.final_layer_norm.bias" => "ln_final.bias",
        _ => {
            let (layer, part) = name.strip_prefix("text_model.encoder.layers.")?.split_once('.')?;
            let part = match part.split_once('.')? {
                ("self_attn", part @ ("in_proj_weight" | "in_proj_bias")) => format!("attn.{part}"),
                ("self_attn", part) => format!("attn.out_proj.{}", part.strip_prefix("out_proj.")?),
                ("layer_norm1", leaf) => format!("ln_1.{leaf}"),
                ("layer_norm2", leaf) => format!("ln_2.{leaf}"),
                ("mlp", part) => {
                    let (layer, leaf) = part.split_once('.')?;
                    let layer = match layer {
                        "fc1" => "c_fc",
                        "fc2" => "c_proj",
                        _ => return None,
                    };
                    format!("mlp.{layer}.{leaf}")
                }
                _ => return None,
            };
            return Some(format!("transformer.resblocks.{layer}.{part}"));
        }
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;

    /// Names of the tensors of a manifest below a prefix.
    fn below(manifest: &str, prefix: &str) -> Vec<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/manifests/");
        let text = std::fs::read_to_string(format!("{folder}{manifest}-single.json")).unwrap();
        let manifest = latent_benches::Manifest::parse(&text).unwrap();
        let names = manifest.files().values().flatten().map(|entry| entry.name.as_str());
        names.filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    #[test]
    fn every_published_name_goes_there_and_back() {
        for (manifest, attending, encoder) in [
            ("sd15-full", 1..4, None),
            ("sd21-full", 1..4, Some("cond_stage_model.model.")),
            ("sdxl-full", 0..2, Some("conditioner.embedders.1.model.")),
            ("sdxl-refiner-tiny", 1..3, Some("conditioner.embedders.0.model.")),
        ] {
            let unet_names = below(manifest, "model.diffusion_model.");
            assert!(unet_names.len() > 600);
            for name in unet_names {
                let canonical = names::unet(&name, 2).unwrap();
                let back = unet(&canonical, 2, |level| attending.contains(&level));
                assert_eq!(back.as_deref(), Some(name.as_str()), "{manifest} {canonical}");
            }
            let vae_names = below(manifest, "first_stage_model.");
            assert_eq!(vae_names.len(), 248);
            for name in vae_names {
                let canonical = names::vae(&name, 4).unwrap();
                assert_eq!(vae(&canonical, 4).as_deref(), Some(name.as_str()), "{canonical}");
            }
            for name in encoder.map_or(Vec::new(), |prefix| below(manifest, prefix)) {
                let canonical = names::open_clip(&name);
                assert_eq!(canonical.is_none(), name == "logit_scale", "{name}");
                assert!(canonical.is_none_or(|canonical| open_clip(&canonical).as_ref() == Some(&name)));
            }
        }
    }

    #[test]
    fn names_that_are_no_model_s_have_none() {
        for name in
            ["", "a", "a.b", "up_blocks.x.resnets.0.conv1.weight", "up_blocks.9.resnets.0.conv1.weight"]
        {
            assert_eq!(vae(name, 4), None, "{name}");
            assert_eq!(open_clip(name), None, "{name}");
        }
        assert_eq!(unet("down_blocks.0.resnets.0.other.weight", 2, |_| true), None);
        assert_eq!(open_clip("text_model.encoder.layers.0.self_attn.q_proj.weight"), None);
    }

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
            assert_eq!(unet_layer(layer, 2).as_deref(), Some(expected));
        }
        assert_eq!(unet_layer("down_blocks.x.resnets.0.conv1", 2), None);
        assert_eq!(unet_layer("", 2), None);
    }
}
