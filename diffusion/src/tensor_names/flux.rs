//! The networks of Flux.1 and Chroma in original files.

use super::network_names::{BlockNames, NetworkKind, NetworkNames};

/// Their names and the canonical ones.
pub(crate) const NAMES: NetworkNames = NetworkNames {
    kind: NetworkKind::Flux,
    marks: &["double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear1.weight"],
    canonical_marks: &[
        "transformer_blocks.0.attn.norm_added_q.weight",
        "single_transformer_blocks.0.attn.norm_q.weight",
    ],
    tensors: &[],
    layers: &[
        ("img_in", "x_embedder"),
        ("txt_in", "context_embedder"),
        ("time_in.in_layer", "time_text_embed.timestep_embedder.linear_1"),
        ("time_in.out_layer", "time_text_embed.timestep_embedder.linear_2"),
        ("vector_in.in_layer", "time_text_embed.text_embedder.linear_1"),
        ("vector_in.out_layer", "time_text_embed.text_embedder.linear_2"),
        ("guidance_in.in_layer", "time_text_embed.guidance_embedder.linear_1"),
        ("guidance_in.out_layer", "time_text_embed.guidance_embedder.linear_2"),
        ("distilled_guidance_layer.in_proj", "distilled_guidance_layer.in_proj"),
        ("distilled_guidance_layer.out_proj", "distilled_guidance_layer.out_proj"),
        ("final_layer.adaLN_modulation.1", "norm_out.adaLN_modulation.1"),
        ("final_layer.linear", "proj_out"),
    ],
    blocks: &[
        BlockNames { original: "double_blocks", canonical: "transformer_blocks", layers: DOUBLE },
        BlockNames { original: "single_blocks", canonical: "single_transformer_blocks", layers: SINGLE },
        BlockNames {
            original: "distilled_guidance_layer.layers",
            canonical: "distilled_guidance_layer.layers",
            layers: &[("in_layer", "linear_1"), ("out_layer", "linear_2")],
        },
        BlockNames {
            original: "distilled_guidance_layer.norms",
            canonical: "distilled_guidance_layer.norms",
            layers: &[("", "")],
        },
    ],
};

/// The layers of a double block.
const DOUBLE: &[(&str, &str)] = &[
    ("img_mod.lin", "norm1.linear"),
    ("img_attn.qkv", "attn.to_qkv"),
    ("img_attn.norm.query_norm", "attn.norm_q"),
    ("img_attn.norm.key_norm", "attn.norm_k"),
    ("img_attn.proj", "attn.to_out.0"),
    ("img_mlp.0", "ff.net.0.proj"),
    ("img_mlp.2", "ff.net.2"),
    ("txt_mod.lin", "norm1_context.linear"),
    ("txt_attn.qkv", "attn.to_added_qkv"),
    ("txt_attn.norm.query_norm", "attn.norm_added_q"),
    ("txt_attn.norm.key_norm", "attn.norm_added_k"),
    ("txt_attn.proj", "attn.to_add_out"),
    ("txt_mlp.0", "ff_context.net.0.proj"),
    ("txt_mlp.2", "ff_context.net.2"),
];

/// The layers of a single block.
const SINGLE: &[(&str, &str)] = &[
    ("modulation.lin", "norm.linear"),
    ("linear1", "attn.to_qkv_mlp_proj"),
    ("linear2", "proj_out"),
    ("norm.query_norm", "attn.norm_q"),
    ("norm.key_norm", "attn.norm_k"),
];
