//! From what an image encoder sees to tokens.

use super::config::{ImageProjectionConfig, IpAdapterConfig};
use super::resampler::Resampler;
use crate::image_encoder::EncodedImage;
use crate::{Error, params::Params};
use latent_tensor::{LayerNorm, Linear, Tensor, ops};

/// Makes tokens of an encoded image (section 3.2.1).
pub(super) enum ImageProjection {
    /// A linear layer that makes several tokens of one vector, and a norm.
    Linear { proj: Linear, norm: LayerNorm, tokens: usize },
    /// Two linear layers and a norm for each hidden state.
    Mlp { layers: [Linear; 2], norm: LayerNorm },
    /// Attention from learned tokens.
    Resampler(Resampler),
}

impl ImageProjection {
    pub(super) fn load(params: &Params<'_>, config: &IpAdapterConfig) -> Result<ImageProjection, Error> {
        let context = config.cross_attention_dim;
        Ok(match config.projection {
            ImageProjectionConfig::Linear { embedding, tokens } => ImageProjection::Linear {
                proj: params.linear("proj", tokens * context, embedding)?,
                norm: params.layer_norm("norm", context)?,
                tokens,
            },
            ImageProjectionConfig::Mlp { width } => ImageProjection::Mlp {
                layers: [params.linear("proj.0", width, width)?, params.linear("proj.2", context, width)?],
                norm: params.layer_norm("proj.3", context)?,
            },
            ImageProjectionConfig::Resampler { .. } => {
                ImageProjection::Resampler(Resampler::load(params, &config.projection, context)?)
            }
        })
    }

    /// `[images, tokens, width of the text]`
    pub(super) fn forward(&self, image: &EncodedImage) -> Result<Tensor, Error> {
        match self {
            ImageProjection::Linear { proj, norm, tokens } => {
                let images = image.embedding.dims()[0];
                let width = proj.outputs() / tokens;
                let all = ops::linear(&image.embedding, proj)?.reshape(&[images, *tokens, width])?;
                Ok(ops::layer_norm(&all, norm)?)
            }
            ImageProjection::Mlp { layers: [first, second], norm } => {
                let hidden = ops::gelu(ops::linear(&image.penultimate, first)?)?;
                Ok(ops::layer_norm(&ops::linear(&hidden, second)?, norm)?)
            }
            ImageProjection::Resampler(resampler) => resampler.forward(&image.penultimate),
        }
    }
}
