//! What the shapes of a UNet, or of the UNet layers of a ControlNet, say about it.

use super::index::{CONTROLNET, TensorIndex, UNET};
use super::variant::ModelVariant;

/// Shapes by which UNets differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UNetShape {
    /// Channels of the input.
    pub(crate) in_channels: Option<usize>,
    /// Channels of the first level.
    pub(crate) model_channels: Option<usize>,
    /// Rank of a transformer's input projection: 4 for a 1x1 convolution, 2 for a linear layer.
    pub(crate) projection_rank: Option<usize>,
    /// Width of the text that cross-attentions read.
    pub(crate) context_dim: Option<usize>,
    /// Length of the vector added to the time embedding.
    pub(crate) added_dim: Option<usize>,
    /// Whether the finest level has attentions.
    pub(crate) attends_first: bool,
    /// Whether there are four levels.
    pub(crate) has_fourth_level: bool,
    /// Whether there is a mid block, and whether it has an attention.
    pub(crate) has_mid_block: bool,
    pub(crate) has_mid_attention: bool,
    /// Whether a level of the down blocks has a single residual block.
    pub(crate) has_single_layers: bool,
    /// Whether the self-attentions of the last up block read the text.
    pub(crate) reads_text_alone: bool,
    /// Whether an attention of the third level has four transformer blocks.
    pub(crate) is_deep: bool,
}

impl UNetShape {
    /// The variant of a UNet of SD 1.x or 2.x, by the layers that it lacks.
    pub(crate) fn pruned_variant(&self) -> ModelVariant {
        match self {
            UNetShape { has_single_layers: false, .. } => ModelVariant::Base,
            UNetShape { reads_text_alone: true, .. } => ModelVariant::Sdxs,
            UNetShape { attends_first: false, .. } => ModelVariant::Sdxs,
            _ => ModelVariant::BkSdm,
        }
    }

    /// The shapes of a checkpoint's UNet, or else of its ControlNet.
    pub(crate) fn of(index: &TensorIndex) -> UNetShape {
        let scope = if index.has_unet() { UNET } else { CONTROLNET };
        let has = |start: &str| index.has(&format!("{scope}{start}"));
        let dim = |name: &str, axis: usize| index.dim(&format!("{scope}{name}"), axis);
        let first = |end: &str| {
            index.below(scope).find(|(name, _)| name.ends_with(end)).map(|(_, tensor)| &tensor.shape)
        };
        UNetShape {
            in_channels: dim("conv_in.weight", 1),
            model_channels: dim("conv_in.weight", 0),
            projection_rank: first(".proj_in.weight").map(Vec::len),
            context_dim: first(".attn2.to_k.weight").and_then(|shape| shape.get(1).copied()),
            added_dim: dim("add_embedding.linear_1.weight", 1),
            attends_first: has("down_blocks.0.attentions."),
            has_fourth_level: has("down_blocks.3."),
            has_mid_block: has("mid_block."),
            has_mid_attention: has("mid_block.attentions."),
            has_single_layers: has("down_blocks.0.resnets.0.") && !has("down_blocks.0.resnets.1."),
            reads_text_alone: dim("up_blocks.2.attentions.0.transformer_blocks.0.attn1.to_k.weight", 0)
                != dim("up_blocks.2.attentions.0.transformer_blocks.0.attn1.to_k.weight", 1),
            is_deep: has("down_blocks.2.attentions.0.transformer_blocks.3."),
        }
    }
}
