//! The network of Stable Diffusion 3 and 3.5 in original files.

use super::network_names::{BlockNames, NetworkKind, NetworkNames};

/// Their names and the canonical ones.
pub(crate) const NAMES: NetworkNames = NetworkNames {
    kind: NetworkKind::Sd3,
    marks: &["joint_blocks.0.context_block.attn.qkv.weight", "pos_embed"],
    canonical_marks: &["pos_embed.pos_embed", "transformer_blocks.0.attn.to_add_out.weight"],
    tensors: &[("pos_embed", "pos_embed.pos_embed")],
    layers: &[
        ("x_embedder.proj", "pos_embed.proj"),
        ("context_embedder", "context_embedder"),
        ("t_embedder.mlp.0", "time_text_embed.timestep_embedder.linear_1"),
        ("t_embedder.mlp.2", "time_text_embed.timestep_embedder.linear_2"),
        ("y_embedder.mlp.0", "time_text_embed.text_embedder.linear_1"),
        ("y_embedder.mlp.2", "time_text_embed.text_embedder.linear_2"),
        ("final_layer.adaLN_modulation.1", "norm_out.adaLN_modulation.1"),
        ("final_layer.linear", "proj_out"),
    ],
    blocks: &[BlockNames { original: "joint_blocks", canonical: "transformer_blocks", layers: BLOCK }],
};

/// The layers of a block. The text's modulation of the last block has other vectors than those before it, in an order of its own
/// ([`super::transformer`]); the number of its rows tells them apart.
const BLOCK: &[(&str, &str)] = &[
    ("x_block.adaLN_modulation.1", "norm1.linear"),
    ("x_block.attn.qkv", "attn.to_qkv"),
    ("x_block.attn.ln_q", "attn.norm_q"),
    ("x_block.attn.ln_k", "attn.norm_k"),
    ("x_block.attn.proj", "attn.to_out.0"),
    ("x_block.attn2.qkv", "attn2.to_qkv"),
    ("x_block.attn2.ln_q", "attn2.norm_q"),
    ("x_block.attn2.ln_k", "attn2.norm_k"),
    ("x_block.attn2.proj", "attn2.to_out.0"),
    ("x_block.mlp.fc1", "ff.net.0.proj"),
    ("x_block.mlp.fc2", "ff.net.2"),
    ("context_block.adaLN_modulation.1", "norm1_context.adaLN_modulation.1"),
    ("context_block.attn.qkv", "attn.to_added_qkv"),
    ("context_block.attn.ln_q", "attn.norm_added_q"),
    ("context_block.attn.ln_k", "attn.norm_added_k"),
    ("context_block.attn.proj", "attn.to_add_out"),
    ("context_block.mlp.fc1", "ff_context.net.0.proj"),
    ("context_block.mlp.fc2", "ff_context.net.2"),
];
