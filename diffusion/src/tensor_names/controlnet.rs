//! ControlNets: names in original files (`control_model.`) to canonical names.

use super::open_clip;

/// Beginnings of the names of layers that a ControlNet has and a UNet does not, in the original and in diffusers.
const CONTROL: [&str; 8] = [
    "input_hint_block.",
    "zero_convs.",
    "middle_block_out.",
    "controlnet_",
    "control_add_embedding.",
    "task_embedding",
    "transformer_layes.",
    "spatial_ch_projs.",
];

/// Whether a name is that of a layer which only ControlNets have.
pub(crate) fn is_control(name: &str) -> bool {
    CONTROL.iter().any(|start| name.starts_with(start))
}

/// The canonical name of a tensor that only ControlNets have, from its name below `control_model.`. The convolutions of the
/// hint embedding are numbered together with the activations between them.
pub(crate) fn to_canonical(name: &str) -> Option<String> {
    const HINT: &str = "controlnet_cond_embedding";
    if let Some(layer) = name.strip_prefix("transformer_layes.") {
        return union_layer(layer);
    }
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

/// A tensor of the attention of a ControlNet-Union, whose layers are named as OpenCLIP's, by the names of transformers.
fn union_layer(name: &str) -> Option<String> {
    let below = open_clip::to_canonical(&format!("transformer.resblocks.{name}"))?;
    Some(format!("transformer_layes.{}", below.strip_prefix("text_model.encoder.layers.")?))
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
            ("transformer_layes.0.attn.in_proj_bias", "transformer_layes.0.self_attn.in_proj_bias"),
            ("transformer_layes.0.mlp.c_fc.weight", "transformer_layes.0.mlp.fc1.weight"),
        ] {
            assert!(is_control(original) && is_control(canonical), "{original}");
            assert_eq!(to_canonical(original).as_deref(), Some(canonical), "{original}");
        }
        for other in [
            "input_hint_block.3.weight",
            "middle_block.0.in_layers.0.weight",
            "zero_convs",
            "",
            "input_hint_block.00.bias",
        ] {
            assert_eq!(to_canonical(other), None, "{other}");
        }
        assert!(!is_control("middle_block.0.in_layers.0.weight"));
    }
}
