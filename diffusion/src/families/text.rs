//! Where the text encoders of a checkpoint are, and how their states are used.

use super::names;
use crate::Error;
use crate::text::{TextActivation, TextConfig, TextPart};
use crate::tokenizer::END;
use latent_loader::{Layout, Weights};

/// Token that fills up a prompt for OpenCLIP: "!".
const OPEN_CLIP_PADDING: u32 = 0;
/// Layers of OpenCLIP-H, of which folders leave out the last.
const OPEN_CLIP_H_LAYERS: usize = 24;

/// How a family uses a text encoder.
pub(super) struct Role {
    scope: &'static str,
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
pub(super) static SD2: &[Role] =
    &[Role { final_norm: true, pooled: false, may_be_cut: true, scope: "text_encoder", ..OPEN_CLIP }];
/// CLIP-L and OpenCLIP-bigG: the layer before the last of both, without the final norm; the pooled text of the second
/// (SDXL).
pub(super) static SDXL: &[Role] = &[Role { skip: 2, final_norm: false, ..CLIP_L }, OPEN_CLIP];
/// The second of them alone (SDXL's refiner).
pub(super) static SDXL_REFINER: &[Role] = &[OPEN_CLIP];

const CLIP_L: Role = Role {
    scope: "text_encoder",
    activation: TextActivation::QuickGelu,
    padding: END,
    skip: 1,
    final_norm: true,
    pooled: false,
    may_be_cut: false,
};

const OPEN_CLIP: Role = Role {
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
    fn part(&self, weights: &Weights, layout: Layout) -> Result<Option<TextPart>, Error> {
        let below = weights.scope(self.scope).scope("text_model");
        if !below.contains("embeddings.token_embedding.weight") {
            return Ok(None);
        }
        let config = TextConfig::from_weights(&below, self.activation)?;
        let is_cut = self.may_be_cut
            && (config.layers + 1 == OPEN_CLIP_H_LAYERS
                || (layout == Layout::DiffusersFolder && config.layers != OPEN_CLIP_H_LAYERS));
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
pub(super) fn parts(roles: &[Role], weights: &Weights, layout: Layout) -> Result<Vec<TextPart>, Error> {
    let parts = roles.iter().map(|role| role.part(weights, layout));
    Ok(parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Prefixes of text encoders in files, and their canonical scopes; the names below are those of transformers.
const TRANSFORMERS: &[(&str, &str)] = &[
    ("cond_stage_model.transformer.", "text_encoder"),
    ("conditioner.embedders.0.transformer.", "text_encoder"),
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
];
/// The same, for names below as OpenCLIP gives them. The refiner's only encoder is what the base has as its second.
const OPEN_CLIP_PREFIXES: &[(&str, &str)] = &[
    ("cond_stage_model.model.", "text_encoder"),
    ("conditioner.embedders.0.model.", "text_encoder_2"),
    ("conditioner.embedders.1.model.", "text_encoder_2"),
];

/// Canonical name of a tensor of a text encoder, in single files and folders.
pub(super) fn canonical(name: &str) -> Option<String> {
    let below = |table: &'static [(&str, &str)]| {
        table.iter().find_map(|(prefix, scope)| Some((*scope, name.strip_prefix(prefix)?)))
    };
    if let Some((scope, name)) = below(TRANSFORMERS) {
        if name.starts_with("text_projection.") {
            return Some(format!("{scope}.{name}"));
        }
        return Some(format!("{scope}.text_model.{}", name.strip_prefix("text_model.").unwrap_or(name)));
    }
    let (scope, name) = below(OPEN_CLIP_PREFIXES)?;
    Some(format!("{scope}.{}", names::open_clip(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_origins() {
        let embedding = "text_model.embeddings.token_embedding.weight";
        for (name, expected) in [
            (format!("cond_stage_model.transformer.{embedding}"), format!("text_encoder.{embedding}")),
            (
                "cond_stage_model.transformer.embeddings.token_embedding.weight".into(),
                format!("text_encoder.{embedding}"),
            ),
            ("cond_stage_model.model.token_embedding.weight".into(), format!("text_encoder.{embedding}")),
            ("conditioner.embedders.1.model.text_projection".into(), "text_encoder_2.text_projection".into()),
            ("text_encoder_2.text_projection.weight".into(), "text_encoder_2.text_projection.weight".into()),
            (
                "conditioner.embedders.0.model.transformer.resblocks.7.attn.in_proj_bias".into(),
                "text_encoder_2.text_model.encoder.layers.7.self_attn.in_proj_bias".into(),
            ),
        ] {
            assert_eq!(canonical(&name), Some(expected), "{name}");
        }
        for other in ["", "unet.conv_in.weight", "cond_stage_model.model.logit_scale"] {
            assert_eq!(canonical(other), None, "{other}");
        }
    }
}
