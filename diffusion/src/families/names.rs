//! Names of the original (LDM) single files in terms of diffusers, which are the canonical ones.
//!
//! The originals number blocks straight through; diffusers counts levels and layers. Names that are no part of the
//! model (schedule buffers, `model_ema.`) have no canonical name.

/// UNet: name below `model.diffusion_model.`, `layers` residual blocks a level.
pub(super) fn unet(name: &str, layers: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let rest = |from: usize| parts[from..].join(".");
    let index = |at: usize| parts.get(at)?.parse::<usize>().ok();
    let sub = |block: &str, part: &str, i: usize| match part {
        "0" => Some(format!("{block}.resnets.{i}.{}", resnet(&rest(3))?)),
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
            i => Some(format!("mid_block.resnets.{}.{}", i / 2, resnet(&rest(2))?)),
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

/// What a ControlNet has beside the parts of a UNet: beginnings in the original and in diffusers.
const CONTROL: [&str; 5] =
    ["input_hint_block.", "zero_convs.", "middle_block_out.", "controlnet_", "control_add_embedding."];

/// Whether a name is of a part that only ControlNets have.
pub(super) fn is_control(name: &str) -> bool {
    CONTROL.iter().any(|start| name.starts_with(start))
}

/// ControlNet: the original name, below `control_model.`, of a part that a UNet has not. Convolutions of the hint are
/// numbered with the activations between them.
pub(super) fn control(name: &str) -> Option<String> {
    const HINT: &str = "controlnet_cond_embedding";
    let (layer, leaf) = name.rsplit_once('.')?;
    Some(match layer.split('.').collect::<Vec<_>>()[..] {
        ["input_hint_block", "0"] => format!("{HINT}.conv_in.{leaf}"),
        ["input_hint_block", "14"] => format!("{HINT}.conv_out.{leaf}"),
        ["input_hint_block", i] => {
            let i = i.parse::<usize>().ok().filter(|i| i.is_multiple_of(2))?;
            format!("{HINT}.blocks.{}.{leaf}", (i / 2).checked_sub(1)?)
        }
        ["zero_convs", i, "0"] => format!("controlnet_down_blocks.{i}.{leaf}"),
        ["middle_block_out", "0"] => format!("controlnet_mid_block.{leaf}"),
        _ => return None,
    })
}

/// A residual block's parts: position in a `Sequential` to name.
fn resnet(name: &str) -> Option<String> {
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

/// Text encoder: name below `model.` of OpenCLIP, as transformers has it below the encoder. Two stay as they are, for they
/// lie otherwise in memory: the fused `in_proj` and `text_projection`.
pub(super) fn open_clip(name: &str) -> Option<String> {
    let name = match name {
        "token_embedding.weight" => "text_model.embeddings.token_embedding.weight",
        "positional_embedding" => "text_model.embeddings.position_embedding.weight",
        "ln_final.weight" => "text_model.final_layer_norm.weight",
        "ln_final.bias" => "text_model.final_layer_norm.bias",
        "text_projection" => "text_projection",
        _ => {
            let (layer, part) = name.strip_prefix("transformer.resblocks.")?.split_once('.')?;
            let part = match part.split_once('.')? {
                ("attn", part) => format!("self_attn.{part}"),
                ("ln_1", leaf) => format!("layer_norm1.{leaf}"),
                ("ln_2", leaf) => format!("layer_norm2.{leaf}"),
                ("mlp", part) => {
                    format!("mlp.{}", part.replacen("c_fc", "fc1", 1).replacen("c_proj", "fc2", 1))
                }
                _ => return None,
            };
            return Some(format!("text_model.encoder.layers.{layer}.{part}"));
        }
    };
    Some(name.to_owned())
}

/// VAE: name below `first_stage_model.`, of `levels` levels. The original's decoder counts them from the finest.
pub(super) fn vae(name: &str, levels: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["quant_conv" | "post_quant_conv", _] => Some(name.to_owned()),
        [side, "conv_in" | "conv_out", _] if side == "encoder" || side == "decoder" => Some(name.to_owned()),
        [side, "norm_out", leaf] => Some(format!("{side}.conv_norm_out.{leaf}")),
        [side, "mid", "attn_1", part, leaf] => {
            Some(format!("{side}.mid_block.attentions.0.{}.{leaf}", attention(part)?))
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

/// Layers of the VAE's attention in the original, in today's diffusers and in that of SD 1.x's time.
fn attention(part: &str) -> Option<&'static str> {
    match part {
        "norm" | "group_norm" => Some("group_norm"),
        "q" | "query" | "to_q" => Some("to_q"),
        "k" | "key" | "to_k" => Some("to_k"),
        "v" | "value" | "to_v" => Some("to_v"),
        "proj_out" | "proj_attn" => Some("to_out.0"),
        _ => None,
    }
}

/// VAE of a diffusers folder: as it is, but for the attention of old files.
pub(super) fn vae_of_folder(name: &str) -> String {
    if let [side, "mid_block", "attentions", "0", part, leaf] = name.split('.').collect::<Vec<_>>()[..]
        && let Some(part) = attention(part)
    {
        return format!("{side}.mid_block.attentions.0.{part}.{leaf}");
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_parts() {
        for (original, canonical) in [
            ("input_hint_block.0.weight", "controlnet_cond_embedding.conv_in.weight"),
            ("input_hint_block.2.bias", "controlnet_cond_embedding.blocks.0.bias"),
            ("input_hint_block.12.weight", "controlnet_cond_embedding.blocks.5.weight"),
            ("input_hint_block.14.weight", "controlnet_cond_embedding.conv_out.weight"),
            ("zero_convs.11.0.bias", "controlnet_down_blocks.11.bias"),
            ("middle_block_out.0.weight", "controlnet_mid_block.weight"),
        ] {
            assert!(is_control(original) && is_control(canonical), "{original}");
            assert_eq!(control(original).as_deref(), Some(canonical), "{original}");
        }
        for other in [
            "input_hint_block.3.weight",
            "middle_block.0.in_layers.0.weight",
            "zero_convs",
            "",
            "input_hint_block.00.bias",
        ] {
            assert_eq!(control(other), None, "{other}");
        }
        assert!(!is_control("middle_block.0.in_layers.0.weight"));
    }

    #[test]
    fn unet_blocks() {
        for (original, canonical) in [
            ("time_embed.2.bias", "time_embedding.linear_2.bias"),
            ("time_embed.cond_proj.weight", "time_embedding.cond_proj.weight"),
            ("input_blocks.0.0.weight", "conv_in.weight"),
            ("input_blocks.1.0.in_layers.2.weight", "down_blocks.0.resnets.0.conv1.weight"),
            ("input_blocks.2.1.proj_in.weight", "down_blocks.0.attentions.1.proj_in.weight"),
            ("input_blocks.3.0.op.bias", "down_blocks.0.downsamplers.0.conv.bias"),
            ("input_blocks.4.0.skip_connection.weight", "down_blocks.1.resnets.0.conv_shortcut.weight"),
            ("middle_block.0.emb_layers.1.weight", "mid_block.resnets.0.time_emb_proj.weight"),
            ("middle_block.1.norm.weight", "mid_block.attentions.0.norm.weight"),
            ("middle_block.2.out_layers.3.bias", "mid_block.resnets.1.conv2.bias"),
            ("output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
            ("output_blocks.5.2.conv.weight", "up_blocks.1.upsamplers.0.conv.weight"),
            // SDXL: attention at the coarsest level too, and a vector beside the time.
            ("output_blocks.2.2.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
            ("label_emb.0.0.weight", "add_embedding.linear_1.weight"),
            ("label_emb.0.2.bias", "add_embedding.linear_2.bias"),
            (
                "output_blocks.11.1.transformer_blocks.0.attn1.to_out.0.bias",
                "up_blocks.3.attentions.2.transformer_blocks.0.attn1.to_out.0.bias",
            ),
            ("out.0.weight", "conv_norm_out.weight"),
            ("out.2.weight", "conv_out.weight"),
        ] {
            assert_eq!(unet(original, 2).as_deref(), Some(canonical));
        }
        for other in [
            "",
            "input_blocks",
            "input_blocks.x.0",
            "input_blocks.1.7.weight.a",
            "middle_block.0.9.x",
            "betas",
        ] {
            assert_eq!(unet(other, 2), None, "{other}");
        }
    }

    #[test]
    fn vae_blocks() {
        for (original, canonical) in [
            (
                "encoder.down.1.block.0.nin_shortcut.weight",
                "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
            ),
            ("encoder.down.0.downsample.conv.bias", "encoder.down_blocks.0.downsamplers.0.conv.bias"),
            ("decoder.up.3.block.2.norm1.weight", "decoder.up_blocks.0.resnets.2.norm1.weight"),
            ("decoder.up.1.upsample.conv.weight", "decoder.up_blocks.2.upsamplers.0.conv.weight"),
            ("decoder.mid.block_2.conv1.bias", "decoder.mid_block.resnets.1.conv1.bias"),
            ("encoder.mid.attn_1.proj_out.weight", "encoder.mid_block.attentions.0.to_out.0.weight"),
            ("decoder.norm_out.bias", "decoder.conv_norm_out.bias"),
            ("decoder.conv_in.weight", "decoder.conv_in.weight"),
            ("post_quant_conv.weight", "post_quant_conv.weight"),
        ] {
            assert_eq!(vae(original, 4).as_deref(), Some(canonical));
        }
        for other in
            ["", "decoder.up.4.block.0.norm1.weight", "decoder.mid.block_0.conv1.bias", "loss.logvar"]
        {
            assert_eq!(vae(other, 4), None, "{other}");
        }
        assert_eq!(
            vae_of_folder("encoder.mid_block.attentions.0.query.bias"),
            "encoder.mid_block.attentions.0.to_q.bias"
        );
        assert_eq!(
            vae_of_folder("encoder.mid_block.attentions.0.to_out.0.bias"),
            "encoder.mid_block.attentions.0.to_out.0.bias"
        );
    }
}
