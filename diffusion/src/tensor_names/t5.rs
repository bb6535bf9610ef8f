//! T5 encoders: names in files to those of transformers.
//!
//! ComfyUI has those of transformers below a prefix in single files; llama.cpp has names of its own in GGUF.

/// Prefixes of a T5 in a file with other parts, and of one that was saved with its wrapper.
const PREFIXES: [&str; 3] = ["text_encoders.t5xxl.", "t5xxl.", "transformer."];

/// Layers in a block of llama.cpp's files, and of transformers'.
const BLOCK: [(&str, &str); 10] = [
    ("attn_norm", "layer.0.layer_norm"),
    ("attn_q", "layer.0.SelfAttention.q"),
    ("attn_k", "layer.0.SelfAttention.k"),
    ("attn_v", "layer.0.SelfAttention.v"),
    ("attn_o", "layer.0.SelfAttention.o"),
    ("attn_rel_b", "layer.0.SelfAttention.relative_attention_bias"),
    ("ffn_norm", "layer.1.layer_norm"),
    ("ffn_gate", "layer.1.DenseReluDense.wi_0"),
    ("ffn_up", "layer.1.DenseReluDense.wi_1"),
    ("ffn_down", "layer.1.DenseReluDense.wo"),
];

/// The canonical name of a tensor of a T5 encoder; `None` for one of something else, such as the decoder.
pub(crate) fn to_canonical(name: &str) -> Option<String> {
    let name = PREFIXES.iter().fold(name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name));
    if let Some(block) = name.strip_prefix("enc.blk.") {
        let (number, below) = block.split_once('.')?;
        let (layer, kind) = below.split_once('.')?;
        let (_, canonical) = BLOCK.iter().find(|(known, _)| *known == layer)?;
        return Some(format!("encoder.block.{number}.{canonical}.{kind}"));
    }
    match name {
        // The table has both names where a file was saved with them tied.
        "shared.weight" | "token_embd.weight" => Some("shared.weight".to_owned()),
        "encoder.embed_tokens.weight" => Some("shared.weight".to_owned()),
        "enc.output_norm.weight" => Some("encoder.final_layer_norm.weight".to_owned()),
        _ => {
            let is_known = ["encoder.block.", "encoder.final_layer_norm."];
            is_known.iter().any(|start| name.starts_with(start)).then(|| name.to_owned())
        }
    }
}

/// The name of a tensor in files of llama.cpp, from its canonical one.
pub(crate) fn to_llama(canonical: &str) -> Option<String> {
    if let Some(block) = canonical.strip_prefix("encoder.block.") {
        let (number, below) = block.split_once('.')?;
        let (layer, kind) = below.rsplit_once('.')?;
        let (known, _) = BLOCK.iter().find(|(_, canonical)| *canonical == layer)?;
        return Some(format!("enc.blk.{number}.{known}.{kind}"));
    }
    match canonical {
        "shared.weight" => Some("token_embd.weight".to_owned()),
        "encoder.final_layer_norm.weight" => Some("enc.output_norm.weight".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_has_one_name() {
        let query = "encoder.block.3.layer.0.SelfAttention.q.weight";
        for (name, canonical) in [
            (query, query),
            ("text_encoders.t5xxl.transformer.encoder.block.3.layer.0.SelfAttention.q.weight", query),
            ("t5xxl.transformer.encoder.block.3.layer.0.SelfAttention.q.weight", query),
            ("enc.blk.3.attn_q.weight", query),
            ("enc.blk.11.ffn_gate.weight", "encoder.block.11.layer.1.DenseReluDense.wi_0.weight"),
            (
                "enc.blk.0.attn_rel_b.weight",
                "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            ),
            ("enc.output_norm.weight", "encoder.final_layer_norm.weight"),
            ("encoder.final_layer_norm.weight", "encoder.final_layer_norm.weight"),
            ("shared.weight", "shared.weight"),
            ("text_encoders.t5xxl.transformer.shared.weight", "shared.weight"),
            ("encoder.embed_tokens.weight", "shared.weight"),
            ("token_embd.weight", "shared.weight"),
        ] {
            assert_eq!(to_canonical(name).as_deref(), Some(canonical), "{name}");
        }
        for name in ["enc.blk.3.attn_rel_b.weight", "enc.blk.11.ffn_gate.weight", "token_embd.weight"] {
            assert_eq!(to_llama(&to_canonical(name).unwrap()).as_deref(), Some(name));
        }
        for other in [
            "",
            "decoder.block.0.layer.0.SelfAttention.q.weight",
            "lm_head.weight",
            "enc.blk.0.x.weight",
            "blk.0.attn_q.weight",
        ] {
            assert_eq!(to_canonical(other), None, "{other}");
        }
    }
}
