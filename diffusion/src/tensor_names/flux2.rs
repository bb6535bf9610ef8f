//! The network of Flux.2 in original files.

use super::network_names::{BlockNames, NetworkKind, NetworkNames};

/// Their names and the canonical ones.
pub(crate) const NAMES: NetworkNames = NetworkNames {
    kind: NetworkKind::Flux2,
    marks: &["double_blocks.0.img_attn.qkv.weight", "double_stream_modulation_img.lin.weight"],
    canonical_marks: &["double_stream_modulation_img.linear.weight"],
    tensors: &[],
    layers: &[
        ("img_in", "x_embedder"),
        ("txt_in", "context_embedder"),
        ("time_in.in_layer", "time_guidance_embed.timestep_embedder.linear_1"),
        ("time_in.out_layer", "time_guidance_embed.timestep_embedder.linear_2"),
        ("guidance_in.in_layer", "time_guidance_embed.guidance_embedder.linear_1"),
        ("guidance_in.out_layer", "time_guidance_embed.guidance_embedder.linear_2"),
        ("double_stream_modulation_img.lin", "double_stream_modulation_img.linear"),
        ("double_stream_modulation_txt.lin", "double_stream_modulation_txt.linear"),
        ("single_stream_modulation.lin", "single_stream_modulation.linear"),
        ("final_layer.adaLN_modulation.1", "norm_out.adaLN_modulation.1"),
        ("final_layer.linear", "proj_out"),
    ],
    blocks: &[
        BlockNames { original: "double_blocks", canonical: "transformer_blocks", layers: DOUBLE },
        BlockNames { original: "single_blocks", canonical: "single_transformer_blocks", layers: SINGLE },
    ],
};

/// The layers of a double block.
const DOUBLE: &[(&str, &str)] = &[
    ("img_attn.qkv", "attn.to_qkv"),
    ("img_attn.norm.query_norm", "attn.norm_q"),
    ("img_attn.norm.key_norm", "attn.norm_k"),
    ("img_attn.proj", "attn.to_out.0"),
    ("img_mlp.0", "ff.linear_in"),
    ("img_mlp.2", "ff.linear_out"),
    ("txt_attn.qkv", "attn.to_added_qkv"),
    ("txt_attn.norm.query_norm", "attn.norm_added_q"),
    ("txt_attn.norm.key_norm", "attn.norm_added_k"),
    ("txt_attn.proj", "attn.to_add_out"),
    ("txt_mlp.0", "ff_context.linear_in"),
    ("txt_mlp.2", "ff_context.linear_out"),
];

/// The layers of a single block.
const SINGLE: &[(&str, &str)] = &[
    ("linear1", "attn.to_qkv_mlp_proj"),
    ("linear2", "attn.to_out"),
    ("norm.query_norm", "attn.norm_q"),
    ("norm.key_norm", "attn.norm_k"),
];
