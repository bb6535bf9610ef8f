//! Qwen3: names in files to those of transformers.
//!
//! ComfyUI has those of transformers below a prefix in single files, which names the size; llama.cpp has names of its own in GGUF.

/// What a prefix of ComfyUI begins with, before the size of the model.
const COMFY: &str = "text_encoders.qwen3_";

/// Layers in a block of llama.cpp's files, and of transformers'.
const BLOCK: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The canonical name of a tensor of a Qwen3; `None` for one of something else, and for what predicts the next token.
pub(crate) fn to_canonical(name: &str) -> Option<String> {
    let name = match name.strip_prefix(COMFY) {
        Some(sized) => sized.split_once('.')?.1,
        None => name,
    };
    let name = name.strip_prefix("transformer.").unwrap_or(name);
    if let Some(block) = name.strip_prefix("blk.") {
        let (number, below) = block.split_once('.')?;
        let (layer, kind) = below.split_once('.')?;
        let (_, canonical) = BLOCK.iter().find(|(known, _)| *known == layer)?;
        return Some(format!("model.layers.{number}.{canonical}.{kind}"));
    }
    match name {
        "token_embd.weight" => return Some("model.embed_tokens.weight".to_owned()),
        "output_norm.weight" => return Some("model.norm.weight".to_owned()),
        _ => (),
    }
    let below = name.strip_prefix("model.").unwrap_or(name);
    let is_known = below.starts_with("layers.") || matches!(below, "embed_tokens.weight" | "norm.weight");
    is_known.then(|| format!("model.{below}"))
}

/// The name of a tensor in files of llama.cpp, from its canonical one.
pub(crate) fn to_llama(canonical: &str) -> Option<String> {
    if let Some(block) = canonical.strip_prefix("model.layers.") {
        let (number, below) = block.split_once('.')?;
        let (layer, kind) = below.rsplit_once('.')?;
        let (known, _) = BLOCK.iter().find(|(_, canonical)| *canonical == layer)?;
        return Some(format!("blk.{number}.{known}.{kind}"));
    }
    match canonical {
        "model.embed_tokens.weight" => Some("token_embd.weight".to_owned()),
        "model.norm.weight" => Some("output_norm.weight".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_has_one_name() {
        let query = "model.layers.3.self_attn.q_proj.weight";
        for (name, canonical) in [
            (query, query),
            ("layers.3.self_attn.q_proj.weight", query),
            ("text_encoders.qwen3_4b.transformer.model.layers.3.self_attn.q_proj.weight", query),
            ("text_encoders.qwen3_06b.transformer.model.layers.3.self_attn.q_proj.weight", query),
            ("blk.3.attn_q.weight", query),
            ("blk.35.attn_q_norm.weight", "model.layers.35.self_attn.q_norm.weight"),
            ("blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight"),
            ("output_norm.weight", "model.norm.weight"),
            ("model.norm.weight", "model.norm.weight"),
            ("token_embd.weight", "model.embed_tokens.weight"),
            ("embed_tokens.weight", "model.embed_tokens.weight"),
        ] {
            assert_eq!(to_canonical(name).as_deref(), Some(canonical), "{name}");
        }
        for other in [
            "",
            "lm_head.weight",
            "output.weight",
            "blk.0.x.weight",
            "enc.blk.0.attn_q.weight",
            "text_encoders.qwen3_4b",
        ] {
            assert_eq!(to_canonical(other), None, "{other}");
        }
    }
}
