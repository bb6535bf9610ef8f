//! Where the text encoders of a checkpoint are, and how their states are used.

use super::names;
use crate::Error;
use crate::text::{TextActivation, TextConfig, TextPart};
use crate::tokenizer::END;
use latent_loader::Weights;

/// Token that fills up a prompt for OpenCLIP: "!".
const OPEN_CLIP_PADDING: u32 = 0;
/// Layers of OpenCLIP-H, of which folders leave out the last.
const OPEN_CLIP_H_LAYERS: usize = 24;

/// How a family uses a text encoder.
pub(super) struct Role {
    /// Its name, for people.
    label: &'static str,
    pub(super) scope: &'static str,
    activation: TextActivation,
    padding: u32,
    /// As [`TextPart::skip`].
    skip: usize,
    final_norm: bool,
    pooled: bool,
    /// Whether files exist that lack the layers which `skip` leaves out.
    may_be_cut: bool,
}

/// CLIP-L: all layers and the final norm (SD 1.x).
pub(super) static SD1: &[Role] = &[CLIP_L];
/// OpenCLIP-H: the layer before the last, and the final norm (SD 2.x).
pub(super) static SD2: &[Role] = &[Role {
    final_norm: true,
    pooled: false,
    may_be_cut: true,
    scope: "text_encoder",
    label: "text encoder (OpenCLIP H)",
    ..OPEN_CLIP
}];
/// CLIP-L and OpenCLIP-bigG: the layer before the last of both, without the final norm; the pooled text of the second
/// (SDXL).
pub(super) static SDXL: &[Role] = &[Role { skip: 2, final_norm: false, ..CLIP_L }, OPEN_CLIP];
/// The second of them alone (SDXL's refiner).
pub(super) static SDXL_REFINER: &[Role] = &[OPEN_CLIP];

const CLIP_L: Role = Role {
    label: "text encoder (CLIP-L)",
    scope: "text_encoder",
    activation: TextActivation::QuickGelu,
    padding: END,
    skip: 1,
    final_norm: true,
    pooled: false,
    may_be_cut: false,
};

const OPEN_CLIP: Role = Role {
    label: "text encoder (OpenCLIP bigG)",
    scope: "text_encoder_2",
    activation: TextActivation::Gelu,
    padding: OPEN_CLIP_PADDING,
    skip: 2,
    final_norm: false,
    pooled: true,
    may_be_cut: false,
};

impl Role {
    /// The encoder among weights of canonical names; `None` if it is not there.
    fn part(&self, weights: &Weights) -> Result<Option<TextPart>, Error> {
        let below = weights.scope(self.scope).scope("text_model");
        if !below.contains("embeddings.token_embedding.weight") {
            return Ok(None);
        }
        let config = TextConfig::from_weights(&below, self.activation)?;
        // Files of transformers, which tell queries, keys and values apart, leave the last layer out.
        let is_transformers = below.contains("encoder.layers.0.self_attn.q_proj.weight");
        let is_cut = self.may_be_cut
            && (config.layers + 1 == OPEN_CLIP_H_LAYERS
                || (is_transformers && config.layers != OPEN_CLIP_H_LAYERS));
        Ok(Some(TextPart {
            scope: self.scope,
            skip: if is_cut { 1 } else { self.skip },
            config,
            padding: self.padding,
            final_norm: self.final_norm,
            pooled: self.pooled,
        }))
    }
}

/// The text encoders that are there, of those that a family has.
pub(super) fn parts(roles: &[Role], weights: &Weights) -> Result<Vec<TextPart>, Error> {
    let parts = roles.iter().map(|role| role.part(weights));
    Ok(parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The text encoder of a scope, which has a dot behind it.
pub(super) fn part(roles: &[Role], scope: &str, weights: &Weights) -> Result<Option<TextPart>, Error> {
    let role = roles.iter().find(|role| scope.strip_suffix('.') == Some(role.scope));
    role.map_or(Ok(None), |role| role.part(weights))
}

/// Lengths of the embeddings of a size in SDXL's added vector, all six together.
const SIZES: usize = 6 * 256;

/// The scope of each encoder, with a dot behind it, and the width that it has beside a UNet of these sizes. Two encoders' states
/// lie side by side, and the second's pooled text in the added vector.
pub(super) fn widths(roles: &[Role], context: usize, added: Option<usize>) -> Vec<(String, usize)> {
    let scope = |role: &Role| format!("{}.", role.scope);
    match roles {
        [first, second] => {
            let pooled = added.unwrap_or(0).saturating_sub(SIZES);
            vec![(scope(first), context.saturating_sub(pooled)), (scope(second), pooled)]
        }
        roles => roles.iter().map(|role| (scope(role), context)).collect(),
    }
}

/// Those that are not there.
pub(super) fn lacking(roles: &[Role], weights: &Weights) -> Vec<&'static str> {
    let is_there = |role: &&Role| {
        weights.contains(&format!("{}.text_model.embeddings.token_embedding.weight", role.scope))
    };
    roles.iter().filter(|role| !is_there(role)).map(|role| role.label).collect()
}

/// Canonical name of a tensor of a text encoder, below the encoder's scope, and whether OpenCLIP named it: `below` is its
/// name below the prefix of the file. `None` for what no text encoder has.
pub(super) fn canonical(below: &str) -> Option<(String, bool)> {
    let name = match below.strip_prefix("transformer.") {
        Some(name) if !name.starts_with("resblocks.") => name,
        _ => below.strip_prefix("model.").unwrap_or(below),
    };
    if let Some(name) = names::open_clip(name) {
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
            // Canonical names stay what they are.
            (
                "text_model.encoder.layers.7.self_attn.in_proj_bias",
                "text_model.encoder.layers.7.self_attn.in_proj_bias",
                false,
            ),
        ] {
            assert_eq!(canonical(name), Some((expected.to_owned(), is_open_clip)), "{name}");
        }
        for other in ["", "conv_in.weight", "model.logit_scale", "open_clip.model.visual.proj"] {
            assert_eq!(canonical(other), None, "{other}");
        }
    }
}
