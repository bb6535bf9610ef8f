//! The text encoders of the families: where they are in a checkpoint, and how their hidden states are used.

use super::component::Component;
use crate::Error;
use crate::text::qwen3::Qwen3Config;
use crate::text::t5::T5Config;
use crate::text::{
    LanguageModel, LanguageModelConfig, LanguageModelRole, TextActivation, TextConfig, TextPart,
};
use crate::tokenizer::END;
use latent_loader::Weights;

/// Tokens of CLIP's vocabulary.
const VOCABULARY: usize = 49_408;
/// Token that fills up a prompt for OpenCLIP: "!".
const OPEN_CLIP_PADDING: u32 = 0;
/// Layers of OpenCLIP H, the last of which folders leave out.
const OPEN_CLIP_H_LAYERS: usize = 24;

/// Sizes of CLIP-L, the text encoder of SD 1.x and the first one of SDXL.
pub(super) const CLIP_L_SIZES: TextConfig = TextConfig {
    vocabulary: VOCABULARY,
    width: 768,
    layers: 12,
    mlp_width: 3072,
    activation: TextActivation::QuickGelu,
};

/// Sizes of OpenCLIP H, the text encoder of SD 2.x, without the last of its 24 layers, which is not used.
pub(super) const OPEN_CLIP_H_SIZES: TextConfig = TextConfig {
    vocabulary: VOCABULARY,
    width: 1024,
    layers: OPEN_CLIP_H_LAYERS - 1,
    mlp_width: 4096,
    activation: TextActivation::Gelu,
};

/// Sizes of OpenCLIP bigG, the second text encoder of SDXL. The pooled text needs all its layers.
pub(super) const OPEN_CLIP_BIG_G_SIZES: TextConfig = TextConfig {
    vocabulary: VOCABULARY,
    width: 1280,
    layers: 32,
    mlp_width: 5120,
    activation: TextActivation::Gelu,
};

/// How a family uses a text encoder.
#[derive(Debug)]
pub(crate) struct TextEncoderRole {
    /// What it is.
    pub(crate) component: Component,
    /// Where its weights are, below those of the model.
    pub(crate) scope: &'static str,
    /// The same, followed by a dot.
    pub(crate) scope_with_dot: &'static str,
    /// Sizes of the published encoder.
    pub(crate) published: TextConfig,
    /// Token that fills up a prompt.
    pub(super) padding: u32,
    /// As [`TextPart::skip`].
    pub(super) skip: usize,
    /// As [`TextPart::final_norm`].
    pub(super) final_norm: bool,
    /// As [`TextPart::pooled`].
    pub(super) pooled: bool,
    /// Whether the pooled text goes through a projection.
    pub(super) projection: PooledProjection,
    /// Whether files exist without the layers that `skip` leaves out.
    pub(super) may_be_cut: bool,
}

/// Whether a pooled text goes through a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PooledProjection {
    /// A file without one is incomplete.
    Always,
    /// Where the file has one.
    IfThere,
    /// Never.
    Never,
}

/// CLIP-L, with all layers and the final norm (SD 1.x).
pub(super) const CLIP_L: TextEncoderRole = TextEncoderRole {
    component: Component::ClipL,
    scope: "text_encoder",
    scope_with_dot: "text_encoder.",
    published: CLIP_L_SIZES,
    padding: END,
    skip: 1,
    final_norm: true,
    pooled: false,
    projection: PooledProjection::IfThere,
    may_be_cut: false,
};

/// OpenCLIP H, with the layer before the last and the final norm (SD 2.x).
pub(super) const OPEN_CLIP_H: TextEncoderRole = TextEncoderRole {
    component: Component::OpenClipH,
    scope: "text_encoder",
    scope_with_dot: "text_encoder.",
    published: OPEN_CLIP_H_SIZES,
    padding: OPEN_CLIP_PADDING,
    skip: 2,
    final_norm: true,
    pooled: false,
    projection: PooledProjection::IfThere,
    may_be_cut: true,
};

/// OpenCLIP bigG, with the layer before the last, without the final norm, and with the pooled text (SDXL).
pub(super) const OPEN_CLIP_BIG_G: TextEncoderRole = TextEncoderRole {
    component: Component::OpenClipBigG,
    scope: "text_encoder_2",
    scope_with_dot: "text_encoder_2.",
    published: OPEN_CLIP_BIG_G_SIZES,
    padding: OPEN_CLIP_PADDING,
    skip: 2,
    final_norm: false,
    pooled: true,
    projection: PooledProjection::Always,
    may_be_cut: false,
};

/// The table of a text encoder, by which one is recognised.
const TOKEN_TABLE: &str = "text_model.embeddings.token_embedding.weight";

impl TextEncoderRole {
    /// The encoder among weights of canonical names; `None` if it is not there.
    pub(crate) fn part(&self, weights: &Weights) -> Result<Option<TextPart>, Error> {
        if !self.is_in(weights) {
            return Ok(None);
        }
        let below = weights.scope(self.scope).scope("text_model");
        let config = TextConfig::from_weights(&below, self.published.activation)?;
        // Files of transformers, which keep queries, keys and values apart, leave the last layer out.
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
            projected: match self.projection {
                PooledProjection::Always => true,
                PooledProjection::IfThere => {
                    weights.contains(&format!("{}text_projection.weight", self.scope_with_dot))
                }
                PooledProjection::Never => false,
            },
        }))
    }

    fn is_in(&self, weights: &Weights) -> bool {
        weights.contains(&format!("{}{TOKEN_TABLE}", self.scope_with_dot))
    }
}

/// The text encoders that are there, of those that a family has.
pub(super) fn parts(roles: &[TextEncoderRole], weights: &Weights) -> Result<Vec<TextPart>, Error> {
    let parts = roles.iter().map(|role| role.part(weights));
    Ok(parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The large text encoder of a family, if it is there.
pub(super) fn language(
    role: Option<LanguageModelRole>,
    weights: &Weights,
) -> Result<Option<LanguageModel>, Error> {
    let Some(role) = role else { return Ok(None) };
    let below = weights.scope(role.scope());
    let config = match role {
        LanguageModelRole::T5 { .. } if below.contains("shared.weight") => {
            LanguageModelConfig::T5(T5Config::from_weights(&below)?)
        }
        LanguageModelRole::Qwen3(_) if below.contains("model.embed_tokens.weight") => {
            LanguageModelConfig::Qwen3(Qwen3Config::from_weights(&below)?)
        }
        LanguageModelRole::T5 { .. } | LanguageModelRole::Qwen3(_) => return Ok(None),
    };
    Ok(Some(LanguageModel { role, config }))
}

/// The text encoders that a family has and these weights lack.
pub(super) fn missing(
    roles: &[TextEncoderRole],
    language: Option<LanguageModelRole>,
    weights: &Weights,
) -> Vec<Component> {
    let lacks = |role: &&TextEncoderRole| !role.is_in(weights);
    let mut missing: Vec<_> = roles.iter().filter(lacks).map(|role| role.component).collect();
    match language {
        Some(LanguageModelRole::T5 { .. }) if !weights.contains("t5.shared.weight") => {
            missing.push(Component::T5);
        }
        Some(LanguageModelRole::Qwen3(_)) if !weights.contains("qwen3.model.embed_tokens.weight") => {
            missing.push(Component::Qwen3);
        }
        _ => (),
    }
    missing
}

/// Length of the embeddings of sizes in SDXL's added vector, all six together.
const SIZES_LENGTH: usize = 6 * 256;

/// The scope of each encoder, followed by a dot, and the width that it must have for a UNet with these sizes. The hidden
/// states of two encoders are concatenated, and the added vector contains the pooled text of the second.
pub(super) fn widths(
    roles: &[TextEncoderRole],
    context_dim: usize,
    added_dim: Option<usize>,
) -> Vec<(&'static str, usize)> {
    match roles {
        [first, second] => {
            let pooled = added_dim.unwrap_or(0).saturating_sub(SIZES_LENGTH);
            vec![(first.scope_with_dot, context_dim.saturating_sub(pooled)), (second.scope_with_dot, pooled)]
        }
        roles => roles.iter().map(|role| (role.scope_with_dot, context_dim)).collect(),
    }
}
