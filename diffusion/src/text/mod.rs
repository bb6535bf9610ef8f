//! Text encoders: CLIP's (`CLIPTextModel`; Radford et al., Learning Transferable Visual Models From Natural Language
//! Supervision, 2021), and the larger ones of [`t5`] and [`qwen3`].

mod batch;
mod language_model;
mod layers;
mod layout;
mod part;
pub mod qwen3;
pub mod t5;

pub(crate) use language_model::LanguageStates;
pub use language_model::{LanguageEncoder, LanguageModel, LanguageModelConfig, LanguageModelRole};
pub use layers::LayerLoading;
pub use layout::TextLayout;
pub use part::{Encoded, PartEncoder, TextPart};

use crate::blocks::BlockCount;
use crate::tokenizer::{CONTEXT, VOCABULARY};
use crate::{Error, params::Params};
use latent_loader::Weights;
use latent_tensor::{Device, Embedding, LayerNorm, Linear, Tensor, ops};
use std::fmt;

/// Channels of a head in every CLIP text model.
const HEAD_WIDTH: usize = 64;

/// The activation between the two layers of the feed-forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextActivation {
    /// `x sigmoid(1.702 x)`: OpenAI's CLIP (SD 1.x).
    QuickGelu,
    /// The exact GELU: OpenCLIP.
    Gelu,
}

/// Sizes of a `CLIPTextModel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextConfig {
    /// Rows of the token table.
    pub vocabulary: usize,
    /// Channels of the hidden states.
    pub width: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Channels between the two layers of the feed-forward.
    pub mlp_width: usize,
    /// The activation there.
    pub activation: TextActivation,
}

impl TextConfig {
    /// Reads the sizes from tensors named as transformers names them, below `text_model`.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing, or a width that is not a multiple of 64.
    pub fn from_weights(weights: &Weights, activation: TextActivation) -> Result<TextConfig, Error> {
        let layer = |i| format!("encoder.layers.{i}.mlp.fc1.weight");
        let config = TextConfig {
            vocabulary: weights.dim("embeddings.token_embedding.weight", 0)?,
            width: weights.dim("embeddings.token_embedding.weight", 1)?,
            layers: (0..).take_while(|i| weights.contains(&layer(*i))).count(),
            mlp_width: weights.dim(&layer(0), 0)?,
            activation,
        };
        if config.width == 0 || !config.width.is_multiple_of(HEAD_WIDTH) {
            return Err(Error::Unsupported {
                file: weights.label().to_owned(),
                reason: format!(
                    "the width of a text encoder must be a multiple of {HEAD_WIDTH}, and this one has {}",
                    config.width
                ),
            });
        }
        Ok(config)
    }
}

/// Sizes of a layer of a CLIP encoder, of text or images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerSizes {
    /// Channels of the hidden states.
    pub(crate) width: usize,
    /// Channels between the two layers of the feed-forward.
    pub(crate) mlp_width: usize,
    /// Heads of the attention.
    pub(crate) heads: usize,
    /// The activation in the feed-forward.
    pub(crate) activation: TextActivation,
    /// Whether a token sees only those before it.
    pub(crate) is_causal: bool,
}

impl TextConfig {
    fn layer(&self) -> LayerSizes {
        let TextConfig { width, mlp_width, activation, .. } = *self;
        LayerSizes { width, mlp_width, heads: width / HEAD_WIDTH, activation, is_causal: true }
    }
}

/// A CLIP text encoder.
pub struct TextEncoder {
    token_embedding: Embedding,
    /// Embeddings of the ids past the vocabulary, one after the other.
    learned: Vec<f32>,
    position_embedding: Tensor,
    device: Device,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
}

impl fmt::Debug for TextEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextEncoder").field("device", &self.device).finish_non_exhaustive()
    }
}

impl TextEncoder {
    /// Loads an encoder from tensors named as transformers names them, below `text_model`.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &TextConfig) -> Result<TextEncoder, Error> {
        let layer = |i| EncoderLayer::load(&params.scope("encoder.layers").scope(i), &config.layer());
        let embeddings = params.scope("embeddings");
        let position = embeddings.embedding("position_embedding", [CONTEXT, config.width])?;
        Ok(TextEncoder {
            token_embedding: embeddings.embedding("token_embedding", [config.vocabulary, config.width])?,
            learned: Vec::new(),
            position_embedding: ops::embedding(
                &position,
                &std::array::from_fn::<_, CONTEXT, _>(|i| i as u32),
            )?,
            device: params.device().clone(),
            layers: (0..config.layers).map(layer).collect::<Result<_, _>>()?,
            final_layer_norm: params.layer_norm("final_layer_norm", config.width)?,
        })
    }

    /// Sets the embeddings of the ids from [`VOCABULARY`] on, one after the other (textual inversion). They replace those of
    /// an earlier call.
    pub fn learn(&mut self, vectors: &[f32]) {
        self.learned = vectors.to_vec();
    }

    /// The embeddings of tokens, `[ids.len(), width]`.
    fn embedded(&self, ids: &[u32]) -> Result<Tensor, Error> {
        if self.learned.is_empty() {
            return Ok(ops::embedding(&self.token_embedding, ids)?);
        }
        let place = |id: u32| id.checked_sub(VOCABULARY).map(|place| place as usize);
        let width = self.token_embedding.width();
        let is_learned = |id: u32| place(id).is_some_and(|place| place < self.learned.len() / width);
        let known: Vec<u32> = ids.iter().map(|id| if is_learned(*id) { 0 } else { *id }).collect();
        let mut out = ops::embedding(&self.token_embedding, &known)?;
        for (id, out) in ids.iter().zip(out.f32s_mut()?.chunks_exact_mut(width)) {
            if let Some(place) = place(*id).filter(|_| is_learned(*id)) {
                out.copy_from_slice(&self.learned[place * width..][..width]);
            }
        }
        Ok(out)
    }

    /// Hidden states of chunks of 77 tokens: `[chunks, 77, width]`, after the final layer norm. `skip` is the webui's CLIP
    /// skip: 1 uses all layers, 2 leaves out the last, and so on. The result is on the encoder's device.
    ///
    /// # Errors
    /// A token past the vocabulary, a `skip` of 0 or of more than the layers.
    pub fn encode(&self, chunks: &[[u32; CONTEXT]], skip: usize) -> Result<Tensor, Error> {
        self.normalized(&self.hidden(chunks, skip)?)
    }

    /// Hidden states after the final layer norm.
    fn normalized(&self, hidden: &Tensor) -> Result<Tensor, Error> {
        Ok(ops::layer_norm(hidden, &self.final_layer_norm)?)
    }

    /// As [`TextEncoder::encode`], before the final layer norm.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`].
    pub fn hidden(&self, chunks: &[[u32; CONTEXT]], skip: usize) -> Result<Tensor, Error> {
        Ok(self.hidden_and_last(chunks, skip, false, &mut BlockCount::unwatched())?.0)
    }

    /// The hidden states of [`TextEncoder::hidden`], and those after all layers if `all_layers`; otherwise the same twice.
    fn hidden_and_last(
        &self,
        chunks: &[[u32; CONTEXT]],
        skip: usize,
        all_layers: bool,
        progress: &mut BlockCount<'_>,
    ) -> Result<(Tensor, Tensor), Error> {
        let count = (self.layers.len() + 1).checked_sub(skip).filter(|_| skip > 0);
        let bounds = crate::Bounds::new(1.0, (self.layers.len() + 1) as f64);
        let problem = crate::SettingProblem::OutOfRange { value: skip as f64, bounds, usual: None };
        let count = count.ok_or(Error::setting(crate::Setting::ClipSkip, problem))?;
        let width = self.token_embedding.width();
        let mut x = self.embedded(chunks.as_flattened())?.reshape(&[chunks.len(), CONTEXT, width])?;
        let positions = self.position_embedding.f32s()?;
        for chunk in x.f32s_mut()?.chunks_exact_mut(positions.len()) {
            for (x, position) in chunk.iter_mut().zip(positions) {
                *x += position;
            }
        }
        let mut x = x.to(&self.device)?;
        for layer in &self.layers[..count] {
            x = layer.forward(x)?;
            progress.add()?;
        }
        let hidden = x.clone();
        for layer in self.layers[count..].iter().filter(|_| all_layers) {
            x = layer.forward(x)?;
            progress.add()?;
        }
        Ok((hidden, x))
    }
}

/// Self-attention and feed-forward, each applied to a layer norm of its input and added to the input (`CLIPEncoderLayer`).
pub(crate) struct EncoderLayer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    sizes: LayerSizes,
}

impl EncoderLayer {
    pub(crate) fn load(params: &Params<'_>, sizes: &LayerSizes) -> Result<EncoderLayer, Error> {
        let (width, mlp) = (sizes.width, sizes.mlp_width);
        let attention = params.scope("self_attn");
        let [q_proj, k_proj, v_proj] = if attention.contains("q_proj.weight") {
            [
                attention.linear("q_proj", width, width)?,
                attention.linear("k_proj", width, width)?,
                attention.linear("v_proj", width, width)?,
            ]
        } else {
            attention.fused("in_proj", width, width)?
        };
        Ok(EncoderLayer {
            layer_norm1: params.layer_norm("layer_norm1", width)?,
            q_proj,
            k_proj,
            v_proj,
            out_proj: attention.linear("out_proj", width, width)?,
            layer_norm2: params.layer_norm("layer_norm2", width)?,
            fc1: params.linear("mlp.fc1", mlp, width)?,
            fc2: params.linear("mlp.fc2", width, mlp)?,
            sizes: *sizes,
        })
    }

    /// `x` `[batch, tokens, width]`.
    pub(crate) fn forward(&self, x: Tensor) -> Result<Tensor, Error> {
        let hidden = ops::layer_norm(&x, &self.layer_norm1)?;
        let [q, k, v] = ops::linear_many(&hidden, [&self.q_proj, &self.k_proj, &self.v_proj])?;
        let LayerSizes { heads, is_causal, .. } = self.sizes;
        let x = ops::linear_add(&ops::attention(&q, &k, &v, heads, is_causal)?, &self.out_proj, x)?;
        let hidden = ops::linear(&ops::layer_norm(&x, &self.layer_norm2)?, &self.fc1)?;
        let hidden = match self.sizes.activation {
            TextActivation::QuickGelu => ops::quick_gelu(hidden)?,
            TextActivation::Gelu => ops::gelu(hidden)?,
        };
        Ok(ops::linear_add(&hidden, &self.fc2, x)?)
    }
}
