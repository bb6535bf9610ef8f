//! The sizes of a CLIP vision encoder, read from the shapes of its tensors.

use crate::Error;
use crate::text::{LayerSizes, TextActivation};
use latent_loader::Weights;

/// Width of the published encoder of OpenAI (ViT-L/14), the only one whose activation is the quick GELU.
const VIT_L_WIDTH: usize = 1024;
/// Channels of a head of the encoders that are at most as wide as [`VIT_L_WIDTH`].
const HEAD_WIDTH: usize = 64;
/// Heads of those that are wider: ViT-H/14, ViT-g/14, ViT-bigG/14.
const WIDE_HEADS: usize = 16;

/// Sizes of a `CLIPVisionModelWithProjection`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEncoderConfig {
    /// Channels of the hidden states.
    pub width: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Channels between the two layers of the feed-forward.
    pub mlp_width: usize,
    /// Pixels along a side of a patch.
    pub patch: usize,
    /// Patches along a side of the image.
    pub grid: usize,
    /// Length of the projected class token.
    pub projection: usize,
}

impl ImageEncoderConfig {
    /// Reads the sizes from tensors named as transformers names them.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing, or the sizes do not make a network.
    pub fn from_weights(weights: &Weights) -> Result<ImageEncoderConfig, Error> {
        let model = weights.scope("vision_model");
        let layer = |i| format!("encoder.layers.{i}.mlp.fc1.weight");
        let positions = model.dim("embeddings.position_embedding.weight", 0)?;
        let grid = positions.saturating_sub(1).isqrt();
        // OpenCLIP's is transposed.
        let projection = match weights.contains("visual_projection") {
            true => weights.dim("visual_projection", 1)?,
            false => weights.dim("visual_projection.weight", 0)?,
        };
        let config = ImageEncoderConfig {
            width: model.dim("embeddings.patch_embedding.weight", 0)?,
            layers: (0..).take_while(|i| model.contains(&layer(*i))).count(),
            mlp_width: model.dim(&layer(0), 0)?,
            patch: model.dim("embeddings.patch_embedding.weight", 2)?,
            grid,
            projection,
        };
        let is_square = grid > 0 && grid * grid + 1 == positions && config.patch > 0;
        if !is_square || config.width == 0 || !config.width.is_multiple_of(config.heads().max(1)) {
            return Err(Error::Unsupported {
                file: weights.label().to_owned(),
                reason: format!(
                    "an image encoder of width {} and {positions} positions cannot be built",
                    config.width
                ),
            });
        }
        Ok(config)
    }

    /// Pixels along a side of the image that it sees: 224 of all published ones that are used here.
    #[must_use]
    pub fn side(&self) -> usize {
        self.grid * self.patch
    }

    /// Number of patches.
    #[must_use]
    pub fn patches(&self) -> usize {
        self.grid * self.grid
    }

    /// Heads of its attentions, which no shape shows.
    #[must_use]
    pub fn heads(&self) -> usize {
        if self.width > VIT_L_WIDTH { WIDE_HEADS } else { (self.width / HEAD_WIDTH).max(1) }
    }

    /// Sizes of each of its layers.
    pub(super) fn layer(&self) -> LayerSizes {
        let activation = match self.width {
            VIT_L_WIDTH => TextActivation::QuickGelu,
            _ => TextActivation::Gelu,
        };
        let (width, mlp_width, heads) = (self.width, self.mlp_width, self.heads());
        LayerSizes { width, mlp_width, heads, activation, is_causal: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_activations_are_those_of_the_published_encoders() {
        let of = |width| {
            let config = ImageEncoderConfig {
                width,
                layers: 1,
                mlp_width: 4 * width,
                patch: 14,
                grid: 16,
                projection: 1024,
            };
            (config.heads(), config.layer().activation, config.side())
        };
        assert_eq!(of(768), (12, TextActivation::Gelu, 224));
        assert_eq!(of(1024), (16, TextActivation::QuickGelu, 224));
        assert_eq!(of(1280), (16, TextActivation::Gelu, 224));
        assert_eq!(of(1664), (16, TextActivation::Gelu, 224));
    }
}
