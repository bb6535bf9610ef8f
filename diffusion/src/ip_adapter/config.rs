//! The sizes of an IP-Adapter, read from the shapes of its tensors.

use crate::Error;
use latent_loader::Weights;

/// Channels of a head in the attentions of a resampler.
pub(super) const HEAD_WIDTH: usize = 64;
/// What the one linear layer of the plain IP-Adapter makes of an image: 4 tokens of every published one.
const MAX_TOKENS: usize = 1024;

/// How tokens are made of what the image encoder sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageProjectionConfig {
    /// A linear layer, of the projected class token (`ImageProjModel`).
    Linear {
        /// Length of the projected class token.
        embedding: usize,
        /// Number of tokens.
        tokens: usize,
    },
    /// Two linear layers, of each hidden state of the encoder (`MLPProjModel`, IP-Adapter Full Face).
    Mlp {
        /// Channels of the encoder's hidden states.
        width: usize,
    },
    /// Attention from learned tokens to the encoder's hidden states (`Resampler`, IP-Adapter Plus).
    Resampler {
        /// Channels of the encoder's hidden states.
        width: usize,
        /// Channels of the learned tokens.
        inner: usize,
        /// Number of tokens.
        tokens: usize,
        /// Channels of queries, keys and values.
        attention: usize,
        /// Channels between the two layers of the feed-forward.
        mlp_width: usize,
        /// Number of layers.
        depth: usize,
    },
}

/// Sizes of an IP-Adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpAdapterConfig {
    /// How it makes tokens of an image.
    pub projection: ImageProjectionConfig,
    /// Width of its tokens, which is that of the text.
    pub cross_attention_dim: usize,
    /// The number and the width of each cross-attention, by number: down blocks, up blocks, mid block.
    pub layers: Vec<(usize, usize)>,
}

impl IpAdapterConfig {
    /// Whether it sees the hidden states of the image encoder, and not its projected class token.
    #[must_use]
    pub fn sees_hidden_states(&self) -> bool {
        !matches!(self.projection, ImageProjectionConfig::Linear { .. })
    }

    /// Reads the sizes from tensors named as the authors name them.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing, or the sizes do not make a network.
    pub fn from_weights(weights: &Weights) -> Result<IpAdapterConfig, Error> {
        let adapter = weights.scope("ip_adapter");
        let number = |name: &str| name.strip_suffix(".to_k_ip.weight")?.parse().ok();
        let mut numbers: Vec<usize> = adapter.names().filter_map(number).collect();
        numbers.sort_unstable();
        let first = numbers.first().copied().unwrap_or(1);
        let width = |number: usize| -> Result<(usize, usize), Error> {
            Ok((number, adapter.dim(&format!("{number}.to_k_ip.weight"), 0)?))
        };
        let cross_attention_dim = adapter.dim(&format!("{first}.to_k_ip.weight"), 1)?;
        let projection = weights.scope("image_proj");
        let projection = ImageProjectionConfig::from_weights(&projection, cross_attention_dim)?;
        let layers = numbers.into_iter().map(width).collect::<Result<_, _>>()?;
        Ok(IpAdapterConfig { projection, cross_attention_dim, layers })
    }
}

impl ImageProjectionConfig {
    fn from_weights(weights: &Weights, context: usize) -> Result<ImageProjectionConfig, Error> {
        let refuse = |what: String| Error::Unsupported {
            file: weights.label().to_owned(),
            reason: format!("an IP-Adapter of {what} cannot be built"),
        };
        if weights.contains("latents") {
            let (inner, attention) = (weights.dim("latents", 2)?, weights.dim("layers.0.0.to_q.weight", 0)?);
            if attention == 0 || !attention.is_multiple_of(HEAD_WIDTH) {
                return Err(refuse(format!("{attention} channels of attention")));
            }
            let is_layer = |i: &usize| weights.contains(&format!("layers.{i}.0.to_q.weight"));
            return Ok(ImageProjectionConfig::Resampler {
                width: weights.dim("proj_in.weight", 1)?,
                inner,
                tokens: weights.dim("latents", 1)?,
                attention,
                mlp_width: weights.dim("layers.0.1.1.weight", 0)?,
                depth: (0..).take_while(is_layer).count(),
            });
        }
        if weights.contains("proj.0.weight") {
            return Ok(ImageProjectionConfig::Mlp { width: weights.dim("proj.0.weight", 1)? });
        }
        let (outputs, embedding) = (weights.dim("proj.weight", 0)?, weights.dim("proj.weight", 1)?);
        let tokens = outputs.checked_div(context).unwrap_or(0);
        if tokens == 0 || tokens > MAX_TOKENS || tokens * context != outputs {
            return Err(refuse(format!("{outputs} values for text of width {context}")));
        }
        Ok(ImageProjectionConfig::Linear { embedding, tokens })
    }
}
