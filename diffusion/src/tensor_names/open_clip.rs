//! OpenCLIP text encoders: names below `model.` to canonical names, which are those of transformers, and back.

/// The canonical name of a text encoder tensor from its name below `model.` of OpenCLIP. The fused `in_proj` and
/// `text_projection` keep their names, because their layout in memory differs from that of the canonical tensors.
pub(crate) fn to_canonical(name: &str) -> Option<String> {
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

/// The name below `model.` of OpenCLIP of a text encoder tensor. Separate queries, keys and values have none: OpenCLIP
/// fuses them into one tensor.
pub(crate) fn from_canonical(name: &str) -> Option<String> {
    let name = match name {
        "text_projection" => "text_projection",
        "text_model.embeddings.token_embedding.weight" => "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight" => "positional_embedding",
        "text_model.final_layer_norm.weight" => "ln_final.weight",
        "text_model.final_layer_norm.bias" => "ln_final.bias",
        _ => {
            let (layer, part) = name.strip_prefix("text_model.encoder.layers.")?.split_once('.')?;
            let part = match part.split_once('.')? {
                ("self_attn", part @ ("in_proj_weight" | "in_proj_bias")) => format!("attn.{part}"),
                ("self_attn", part) => format!("attn.out_proj.{}", part.strip_prefix("out_proj.")?),
                ("layer_norm1", leaf) => format!("ln_1.{leaf}"),
                ("layer_norm2", leaf) => format!("ln_2.{leaf}"),
                ("mlp", part) => {
                    let (layer, leaf) = part.split_once('.')?;
                    let layer = match layer {
                        "fc1" => "c_fc",
                        "fc2" => "c_proj",
                        _ => return None,
                    };
                    format!("mlp.{layer}.{leaf}")
                }
                _ => return None,
            };
            return Some(format!("transformer.resblocks.{layer}.{part}"));
        }
    };
    Some(name.to_owned())
}
