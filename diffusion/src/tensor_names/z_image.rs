//! The network of Z-Image in original files.

use super::network_names::{BlockNames, NetworkKind, NetworkNames};

/// Their names and the canonical ones.
pub(crate) const NAMES: NetworkNames = NetworkNames {
    kind: NetworkKind::ZImage,
    // Lumina 2, whose layers are called alike, has no tokens of padding.
    marks: &["x_pad_token", "x_embedder.weight", "cap_embedder.0.weight"],
    canonical_marks: &["x_pad_token", "all_x_embedder.2-1.weight"],
    tensors: &[("x_pad_token", "x_pad_token"), ("cap_pad_token", "cap_pad_token")],
    layers: &[
        ("x_embedder", "all_x_embedder.2-1"),
        ("t_embedder.mlp.0", "t_embedder.mlp.0"),
        ("t_embedder.mlp.2", "t_embedder.mlp.2"),
        ("cap_embedder.0", "cap_embedder.0"),
        ("cap_embedder.1", "cap_embedder.1"),
        ("final_layer.adaLN_modulation.1", "all_final_layer.2-1.adaLN_modulation.1"),
        ("final_layer.linear", "all_final_layer.2-1.linear"),
    ],
    blocks: &[
        BlockNames { original: "layers", canonical: "layers", layers: BLOCK },
        BlockNames { original: "noise_refiner", canonical: "noise_refiner", layers: BLOCK },
        BlockNames { original: "context_refiner", canonical: "context_refiner", layers: BLOCK },
    ],
};

/// The layers of a block.
const BLOCK: &[(&str, &str)] = &[
    ("attention.qkv", "attention.to_qkv"),
    ("attention.q_norm", "attention.norm_q"),
    ("attention.k_norm", "attention.norm_k"),
    ("attention.out", "attention.to_out.0"),
    ("attention_norm1", "attention_norm1"),
    ("attention_norm2", "attention_norm2"),
    ("ffn_norm1", "ffn_norm1"),
    ("ffn_norm2", "ffn_norm2"),
    ("feed_forward.w1", "feed_forward.w1"),
    ("feed_forward.w2", "feed_forward.w2"),
    ("feed_forward.w3", "feed_forward.w3"),
    ("adaLN_modulation.0", "adaLN_modulation.0"),
];
