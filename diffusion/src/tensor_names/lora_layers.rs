//! Which network the layers of a LoRA file are of, by their names.

use super::network_names::NetworkKind;

/// The network that a LoRA is for, as far as names show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoraNetwork {
    /// A UNet.
    UNet,
    /// A diffusion transformer of that kind.
    Transformer(NetworkKind),
    /// A diffusion transformer whose layers have names that several kinds have.
    AnyTransformer,
    /// One that is not known here: what it is called.
    Other(&'static str),
}

/// Blocks of Stable Diffusion 3.5 large, the most that a kind that is known here has of blocks of that name.
const MAX_TRANSFORMER_BLOCKS: usize = 38;

/// Parts of the names of layers, with dots as underscores, and the network that they are of. The first that fits counts.
const MARKS: &[(&[&str], LoraNetwork)] = &[
    (&["joint_blocks_"], LoraNetwork::Transformer(NetworkKind::Sd3)),
    (
        &["double_stream_modulation", "to_qkv_mlp_proj", "_ff_linear_in", "_ff_context_linear_in"],
        LoraNetwork::Transformer(NetworkKind::Flux2),
    ),
    (
        &["double_blocks_", "single_blocks_", "single_transformer_blocks_"],
        LoraNetwork::Transformer(NetworkKind::Flux),
    ),
    (&["lora_prior_", "prior_blocks"], LoraNetwork::Other("Stable Cascade")),
    (
        &["down_blocks_", "up_blocks_", "mid_block_", "input_blocks_", "output_blocks_", "middle_block_"],
        LoraNetwork::UNet,
    ),
    (&["noise_refiner_", "context_refiner_", "cap_embedder_"], LoraNetwork::Transformer(NetworkKind::ZImage)),
    (&["transformer_blocks_", "lora_te3_", "t5xxl_", "text_encoder_3_"], LoraNetwork::AnyTransformer),
    (
        &["diffusion_model_blocks_", "lora_unet_blocks_"],
        LoraNetwork::Other("a model with a transformer in place of the UNet, such as Wan"),
    ),
];

/// The network that a LoRA with layers of these names is for.
pub(crate) fn network<'a>(layers: impl Iterator<Item = &'a str>) -> Option<LoraNetwork> {
    let layers: Vec<String> = layers.map(|layer| layer.replace('.', "_")).collect();
    let any = |test: &dyn Fn(&str) -> bool| layers.iter().any(|layer| test(layer));
    if any(&is_qwen_image) {
        return Some(LoraNetwork::Other("Qwen-Image"));
    }
    if any(&|layer| {
        layer.contains("layers_") && ["_attention_", "_feed_forward_"].iter().any(|part| layer.contains(part))
    }) {
        return Some(LoraNetwork::Transformer(NetworkKind::ZImage));
    }
    let fits = |parts: &[&str]| any(&|layer| parts.iter().any(|part| layer.contains(part)));
    MARKS.iter().find(|(parts, _)| fits(parts)).map(|(_, network)| *network)
}

/// Whether a layer is one of Qwen-Image, whose blocks are called as in diffusers' other transformers.
fn is_qwen_image(layer: &str) -> bool {
    let Some((before, below)) = layer.split_once("transformer_blocks_") else { return false };
    let own = ["_img_mod", "_txt_mod", "_img_mlp", "_txt_mlp"];
    // A UNet's, and Flux's single blocks, are not meant.
    let is_list = matches!(
        before.trim_end_matches('_'),
        "" | "transformer"
            | "lora_unet"
            | "lora_transformer"
            | "diffusion_model"
            | "base_model_model"
            | "lycoris"
    );
    let number = below.split('_').next().and_then(|number| number.parse::<usize>().ok());
    is_list
        && (own.iter().any(|part| below.contains(part))
            || number.is_some_and(|n| n >= MAX_TRANSFORMER_BLOCKS))
}

impl LoraNetwork {
    /// What it is called in "a LoRA for …".
    pub(crate) fn label(self) -> &'static str {
        match self {
            LoraNetwork::UNet => "Stable Diffusion with a UNet",
            LoraNetwork::Transformer(NetworkKind::Sd3) => "Stable Diffusion 3",
            LoraNetwork::Transformer(NetworkKind::Flux) => "Flux.1",
            LoraNetwork::Transformer(NetworkKind::Flux2) => "Flux.2",
            LoraNetwork::Transformer(NetworkKind::ZImage) => "Z-Image",
            LoraNetwork::AnyTransformer => {
                "Stable Diffusion 3 or another model with a transformer in place of the UNet"
            }
            LoraNetwork::Other(label) => label,
        }
    }

    /// Whether it may be for a model whose network is a diffusion transformer of that kind, or a UNet.
    pub(crate) fn may_fit(self, model: Option<NetworkKind>) -> bool {
        match self {
            LoraNetwork::UNet => model.is_none(),
            LoraNetwork::Transformer(kind) => model == Some(kind),
            LoraNetwork::AnyTransformer => model.is_some(),
            LoraNetwork::Other(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_show_their_network() {
        let sd3 = Some(LoraNetwork::Transformer(NetworkKind::Sd3));
        let flux = Some(LoraNetwork::Transformer(NetworkKind::Flux));
        let flux2 = Some(LoraNetwork::Transformer(NetworkKind::Flux2));
        let z_image = Some(LoraNetwork::Transformer(NetworkKind::ZImage));
        let qwen_image = Some(LoraNetwork::Other("Qwen-Image"));
        for (layer, expected) in [
            ("lora_unet_joint_blocks_3_x_block_attn_qkv", sd3),
            ("lora_unet_double_blocks_0_img_mod_lin", flux),
            ("double_blocks.0.processor.qkv_lora1", flux),
            ("transformer.single_transformer_blocks.37.attn.to_q", flux),
            ("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", flux2),
            ("diffusion_model.layers.0.attention.qkv", z_image),
            ("lora_unet_noise_refiner_0_x", z_image),
            ("transformer.transformer_blocks.0.img_mlp.net.2", qwen_image),
            ("transformer_blocks.59.attn.to_q", qwen_image),
            ("transformer.transformer_blocks.12.attn.to_q", Some(LoraNetwork::AnyTransformer)),
            ("lora_te3_encoder_block_0_layer_0_SelfAttention_q", Some(LoraNetwork::AnyTransformer)),
            ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_9_attn1_to_q", Some(LoraNetwork::UNet)),
            ("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q", Some(LoraNetwork::UNet)),
            ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", None),
            ("lora_te_text_model_encoder_layers_0_mlp_fc1", None),
        ] {
            assert_eq!(network([layer].into_iter()), expected, "{layer}");
        }
    }
}
