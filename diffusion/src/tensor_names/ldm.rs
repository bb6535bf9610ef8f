//! The UNet and VAE of original single files (LDM, SGM): names in the file to canonical names and back.
//!
//! The originals number blocks straight through; diffusers, whose names are the canonical ones, counts levels and layers.
//! Tensors that are not part of the model (schedule buffers, `model_ema.`) have no canonical name.

/// The canonical name of a UNet tensor from its name below `model.diffusion_model.`; a level has `layers` residual blocks.
pub(crate) fn unet_to_canonical(name: &str, layers: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let rest = |from: usize| parts[from..].join(".");
    let index = |at: usize| parts.get(at)?.parse::<usize>().ok();
    let sub = |block: &str, part: &str, i: usize| match part {
        "0" => Some(format!("{block}.resnets.{i}.{}", resnet_to_canonical(&rest(3))?)),
        "1" => Some(format!("{block}.attentions.{i}.{}", rest(3))),
        _ => None,
    };
    match *parts.first()? {
        "time_embed" if parts.get(1) == Some(&"cond_proj") => {
            Some(format!("time_embedding.cond_proj.{}", parts.get(2)?))
        }
        "time_embed" => Some(format!("time_embedding.linear_{}.{}", index(1)? / 2 + 1, parts.get(2)?)),
        "label_emb" => Some(format!("add_embedding.linear_{}.{}", index(2)? / 2 + 1, parts.get(3)?)),
        "out" if index(1)? == 0 => Some(format!("conv_norm_out.{}", parts.get(2)?)),
        "out" => Some(format!("conv_out.{}", parts.get(2)?)),
        "input_blocks" if index(1)? == 0 => Some(format!("conv_in.{}", parts.get(3)?)),
        "input_blocks" => {
            let (level, layer) = ((index(1)? - 1) / (layers + 1), (index(1)? - 1) % (layers + 1));
            let block = format!("down_blocks.{level}");
            match *parts.get(3)? {
                "op" => Some(format!("{block}.downsamplers.0.conv.{}", parts.get(4)?)),
                _ => sub(&block, parts[2], layer),
            }
        }
        "middle_block" => match index(1)? {
            1 => Some(format!("mid_block.attentions.0.{}", rest(2))),
            i => Some(format!("mid_block.resnets.{}.{}", i / 2, resnet_to_canonical(&rest(2))?)),
        },
        "output_blocks" => {
            let (level, layer) = (index(1)? / (layers + 1), index(1)? % (layers + 1));
            let block = format!("up_blocks.{level}");
            match *parts.get(3)? {
                "conv" => Some(format!("{block}.upsamplers.0.conv.{}", parts.get(4)?)),
                _ => sub(&block, parts[2], layer),
            }
        }
        _ => None,
    }
}

/// The canonical name of a layer of a residual block from its position in a `Sequential`.
fn resnet_to_canonical(name: &str) -> Option<String> {
    let (layer, leaf) = name.rsplit_once('.')?;
    let layer = match layer {
        "in_layers.0" => "norm1",
        "in_layers.2" => "conv1",
        "emb_layers.1" => "time_emb_proj",
        "out_layers.0" => "norm2",
        "out_layers.3" => "conv2",
        "skip_connection" => "conv_shortcut",
        _ => return None,
    };
    Some(format!("{layer}.{leaf}"))
}

/// The name below `model.diffusion_model.` of a UNet tensor; a level has `layers` residual blocks. `attends` says
/// whether the last layer of a level in the up blocks has an attention: the upsampler is numbered after it.
pub(crate) fn unet_from_canonical(
    name: &str,
    layers: usize,
    attends: impl Fn(usize) -> bool,
) -> Option<String> {
    let (layer, leaf) = name.rsplit_once('.')?;
    let original = unet_layer_from_canonical(layer, layers)?;
    let level = || layer.split('.').nth(1)?.parse().ok();
    match original.strip_suffix(".2.conv") {
        Some(block) if !attends(level()?) => Some(format!("{block}.1.conv.{leaf}")),
        _ => Some(format!("{original}.{leaf}")),
    }
}

/// The name below `model.diffusion_model.` of a UNet layer; a level has `layers` residual blocks. An upsampler is named as
/// the third module of its block, as where an attention precedes it.
pub(crate) fn unet_layer_from_canonical(layer: &str, layers: usize) -> Option<String> {
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
            Some(format!("middle_block.{}.{}", index(2)?.checked_mul(2)?, resnet_from_canonical(rest(3)?)?))
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
                "resnets" => Some(format!("{side}.{block}.0.{}", resnet_from_canonical(rest(4)?)?)),
                "attentions" => Some(format!("{side}.{block}.1.{}", rest(4)?)),
                "downsamplers" => Some(format!("{side}.{}.0.op", first + layers + 1)),
                "upsamplers" => Some(format!("{side}.{}.2.conv", first + layers)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The position in a `Sequential` of a layer of a residual block.
fn resnet_from_canonical(part: &str) -> Option<&'static str> {
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

/// The canonical name of a VAE tensor from its name below `first_stage_model.`, for a VAE of `levels` levels, which the
/// original's decoder counts from the finest.
pub(crate) fn vae_to_canonical(name: &str, levels: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["quant_conv" | "post_quant_conv", _] | ["bn", "running_mean" | "running_var"] => {
            Some(name.to_owned())
        }
        // Flux.2's, which count them to encoder and decoder.
        ["encoder", layer @ "quant_conv", leaf] | ["decoder", layer @ "post_quant_conv", leaf] => {
            Some(format!("{layer}.{leaf}"))
        }
        [side, "conv_in" | "conv_out", _] if side == "encoder" || side == "decoder" => Some(name.to_owned()),
        [side, "norm_out", leaf] => Some(format!("{side}.conv_norm_out.{leaf}")),
        [side, "mid", "attn_1", part, leaf] => {
            Some(format!("{side}.mid_block.attentions.0.{}.{leaf}", vae_attention_to_canonical(part)?))
        }
        [side, "mid", block, part, leaf] => {
            let i = block.strip_prefix("block_")?.parse::<usize>().ok()?.checked_sub(1)?;
            Some(format!("{side}.mid_block.resnets.{i}.{part}.{leaf}"))
        }
        [side, direction @ ("down" | "up"), level, "block", layer, part, leaf] => {
            let level = vae_level(direction, level, levels)?;
            let part = if part == "nin_shortcut" { "conv_shortcut" } else { part };
            Some(format!("{side}.{direction}_blocks.{level}.resnets.{layer}.{part}.{leaf}"))
        }
        [side, direction @ ("down" | "up"), level, sampler @ ("downsample" | "upsample"), "conv", leaf] => {
            let level = vae_level(direction, level, levels)?;
            Some(format!("{side}.{direction}_blocks.{level}.{sampler}rs.0.conv.{leaf}"))
        }
        _ => None,
    }
}

fn vae_level(direction: &str, level: &str, levels: usize) -> Option<usize> {
    let level = level.parse::<usize>().ok()?;
    if direction == "up" { levels.checked_sub(level + 1) } else { Some(level) }
}

/// The canonical name of a layer of the VAE's attention, named as in the original, in today's diffusers or in diffusers of
/// the time of SD 1.x.
pub(super) fn vae_attention_to_canonical(part: &str) -> Option<&'static str> {
    match part {
        "norm" | "group_norm" => Some("group_norm"),
        "q" | "query" | "to_q" => Some("to_q"),
        "k" | "key" | "to_k" => Some("to_k"),
        "v" | "value" | "to_v" => Some("to_v"),
        "proj_out" | "proj_attn" => Some("to_out.0"),
        _ => None,
    }
}

/// The name below `first_stage_model.` of a VAE tensor, for a VAE of `levels` levels.
pub(crate) fn vae_from_canonical(name: &str, levels: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let level = |direction: &str, level: &str| {
        let level = level.parse::<usize>().ok()?;
        if direction == "up_blocks" { levels.checked_sub(level + 1) } else { Some(level) }
    };
    match parts[..] {
        ["quant_conv" | "post_quant_conv" | "bn", _] | [_, "conv_in" | "conv_out", _] => {
            Some(name.to_owned())
        }
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
