//! Text encoders: names below the prefix of a file, of OpenCLIP or transformers, to canonical names.

use super::open_clip;

/// The canonical name of a text encoder tensor, below the encoder's scope, and whether the file names it as OpenCLIP does.
/// `below` is its name below the prefix of the file. `None` for a name that no text encoder has.
pub(crate) fn to_canonical(below: &str) -> Option<(String, bool)> {
    let name = match below.strip_prefix("transformer.") {
        Some(name) if !name.starts_with("resblocks.") => name,
        _ => below.strip_prefix("model.").unwrap_or(below),
    };
    if let Some(name) = open_clip::to_canonical(name) {
        return Some((name, true));
    }
    if name == "text_projection.weight" {
        return Some((name.to_owned(), false));
    }
    let name = name.strip_prefix("text_model.").unwrap_or(name);
    let is_known =
        ["embeddings.", "encoder.layers.", "final_layer_norm."].iter().any(|s| name.starts_with(s));
    is_known.then(|| (format!("text_model.{name}"), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_origins() {
        let table = "text_model.embeddings.token_embedding.weight";
        for (name, expected, is_open_clip) in [
            ("transformer.text_model.embeddings.token_embedding.weight", table, false),
            ("transformer.embeddings.token_embedding.weight", table, false),
            ("text_model.embeddings.token_embedding.weight", table, false),
            ("embeddings.token_embedding.weight", table, false),
            ("model.token_embedding.weight", table, true),
            ("token_embedding.weight", table, true),
            ("model.text_projection", "text_projection", true),
            ("text_projection.weight", "text_projection.weight", false),
            ("transformer.text_projection.weight", "text_projection.weight", false),
            (
                "model.transformer.resblocks.7.attn.in_proj_bias",
                "text_model.encoder.layers.7.self_attn.in_proj_bias",
                true,
            ),
            ("transformer.resblocks.7.ln_1.bias", "text_model.encoder.layers.7.layer_norm1.bias", true),
            // Canonical names are mapped to themselves.
            (
                "text_model.encoder.layers.7.self_attn.in_proj_bias",
                "text_model.encoder.layers.7.self_attn.in_proj_bias",
                false,
            ),
        ] {
            assert_eq!(to_canonical(name), Some((expected.to_owned(), is_open_clip)), "{name}");
        }
        for other in ["", "conv_in.weight", "model.logit_scale", "open_clip.model.visual.proj"] {
            assert_eq!(to_canonical(other), None, "{other}");
        }
    }
}
