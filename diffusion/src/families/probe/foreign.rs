//! Files of other programs' networks, by names: what a person is told who gives one.

use super::index::TensorIndex;

/// A part of a name, and what a file with it is. The first that fits counts.
const KNOWN: &[(&str, &str)] = &[
    ("joint_blocks.0.", "a Stable Diffusion 3 model"),
    ("double_blocks.0.img_mod", "a Flux model"),
    ("single_transformer_blocks.0.", "a Flux model"),
    ("double_stream_modulation", "a Flux.2 dev model"),
    ("txt_norm.weight", "a Qwen-Image model"),
    ("llm_adapter.", "an Anima model"),
    ("individual_token_refiner", "a HunyuanVideo model"),
    ("double_stream_blocks.0.", "a HiDream model"),
    ("patchify_proj.", "an LTX-Video model"),
    ("head.modulation", "a Wan video model"),
    ("conv_inverted", "a Sana model"),
    ("net.blocks.0.adaln_modulation", "a Cosmos model"),
    ("cap_embedder.", "a Lumina or Z-Image model"),
    ("noise_refiner.0.", "a Lumina or Z-Image model"),
    ("clip_txt_pooled_mapper", "a Stable Cascade model"),
    ("double_layers.0.attn.w1q", "an AuraFlow model"),
    ("t5_yproj.", "a Hunyuan-DiT model"),
    ("patch_embedding.weight", "a video model"),
    ("caption_projection.", "a PixArt model"),
    ("adaln_single.", "a PixArt model"),
    ("motion_modules.", "a motion module of AnimateDiff"),
    ("id_encoder.", "a PhotoMaker, which needs networks that recognise faces"),
    ("pulid_encoder.", "a PuLID, which needs networks that recognise faces"),
    ("perceiver_resampler.", "an IP-Adapter FaceID, which needs a network that recognises faces"),
    ("style_embedding", "a T2I-Adapter of style, which has no layers for a UNet"),
    ("inpaint_head.", "an inpainting patch of Fooocus"),
];

/// What a file is, if it is one of those.
pub(super) fn name(index: &TensorIndex) -> Option<&'static str> {
    KNOWN.iter().find(|(part, _)| index.any_name_in_file(|name| name.contains(part))).map(|(_, name)| *name)
}
