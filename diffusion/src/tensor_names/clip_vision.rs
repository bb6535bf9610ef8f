//! CLIP vision encoders: names of transformers and OpenCLIP to canonical names, which are those of transformers.

use super::open_clip;

/// Ends of the name of the one tensor that every vision encoder has.
const PATCHES: [&str; 2] = ["embeddings.patch_embedding.weight", "visual.conv1.weight"];
/// Beginnings of names below `vision_model.`.
const PARTS: [&str; 5] =
    ["embeddings.", "encoder.layers.", "pre_layrnorm.", "pre_layernorm.", "post_layernorm."];

/// Whether a name is that of the first layer of a vision encoder.
pub(crate) fn is_image_encoder(name: &str) -> bool {
    PATCHES.iter().any(|end| name.ends_with(end))
}

/// The canonical name of a vision encoder's tensor. OpenCLIP's fused `in_proj` and its projection keep their names, because
/// their layout in memory differs from that of the canonical tensors. `None` for what the encoder does not use.
pub(crate) fn to_canonical(name: &str) -> Option<String> {
    if name.ends_with("position_ids") {
        return None;
    }
    if let Some(below) = after(name, "visual_projection.") {
        return Some(format!("visual_projection.{below}"));
    }
    if let Some(below) = after(name, "visual.") {
        return of_open_clip(below);
    }
    let below = after(name, "vision_model.").unwrap_or(name);
    let is_known = PARTS.iter().any(|part| below.starts_with(part));
    is_known.then(|| format!("vision_model.{}", below.replacen("pre_layernorm.", "pre_layrnorm.", 1)))
}

/// What follows `part`, which begins a name or a part of one.
fn after<'a>(name: &'a str, part: &str) -> Option<&'a str> {
    let at = name.find(part)?;
    (at == 0 || name[..at].ends_with('.')).then(|| &name[at + part.len()..])
}

fn of_open_clip(below: &str) -> Option<String> {
    let name = match below {
        "proj" => return Some("visual_projection".to_owned()),
        "conv1.weight" => "embeddings.patch_embedding.weight".to_owned(),
        "class_embedding" => "embeddings.class_embedding".to_owned(),
        "positional_embedding" => "embeddings.position_embedding.weight".to_owned(),
        _ => match below.split_once('.')? {
            ("ln_pre", leaf) => format!("pre_layrnorm.{leaf}"),
            ("ln_post", leaf) => format!("post_layernorm.{leaf}"),
            ("transformer", _) => open_clip::to_canonical(below)?.strip_prefix("text_model.")?.to_owned(),
            _ => return None,
        },
    };
    Some(format!("vision_model.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_origins() {
        let patches = "vision_model.embeddings.patch_embedding.weight";
        for (name, expected) in [
            ("vision_model.embeddings.patch_embedding.weight", patches),
            ("image_encoder.vision_model.embeddings.patch_embedding.weight", patches),
            ("embeddings.patch_embedding.weight", patches),
            ("visual.conv1.weight", patches),
            ("open_clip.model.visual.conv1.weight", patches),
            ("visual.proj", "visual_projection"),
            ("visual_projection.weight", "visual_projection.weight"),
            ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
            ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
            ("visual.ln_pre.bias", "vision_model.pre_layrnorm.bias"),
            (
                "visual.transformer.resblocks.3.attn.in_proj_bias",
                "vision_model.encoder.layers.3.self_attn.in_proj_bias",
            ),
            (
                "visual.transformer.resblocks.3.mlp.c_fc.weight",
                "vision_model.encoder.layers.3.mlp.fc1.weight",
            ),
        ] {
            assert_eq!(to_canonical(name).as_deref(), Some(expected), "{name}");
        }
        for other in
            ["text_model.final_layer_norm.bias", "logit_scale", "embeddings.position_ids", "visual.x"]
        {
            assert_eq!(to_canonical(other), None, "{other}");
        }
        assert!(is_image_encoder("visual.conv1.weight") && is_image_encoder(patches));
        assert!(!is_image_encoder("vision_model.post_layernorm.weight"));
    }
}
