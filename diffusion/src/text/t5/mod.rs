//! The encoder of T5 v1.1 (`T5EncoderModel`; Raffel et al., Exploring the Limits of Transfer Learning with a Unified Text-to-Text
//! Transformer, 2019; Shazeer, GLU Variants Improve Transformer, 2020).

mod bias;
mod config;
mod layer;

pub use config::T5Config;

use super::batch::TextBatch;
use super::layers::{LayerLoading, LayerStack};
use crate::blocks::BlockCount;
use crate::params::{Params, StoredParams};
use crate::tokenizer::PaddedTokens;
use crate::{Error, tensor_names};
use bias::PositionBias;
use latent_loader::{Checkpoint, Weights};
use latent_tensor::{Device, Embedding, RmsNorm, Tensor, ops};
use layer::T5Block;
use std::fmt;
use std::sync::Arc;

/// Added to the mean of the squares in all norms.
const EPS: f32 = 1e-6;

/// The encoder of a T5. It computes in `f32` on every device: its hidden states exceed what `f16` can hold.
pub struct T5Encoder {
    params: StoredParams,
    device: Device,
    config: T5Config,
    /// Nothing if it is read for each call.
    table: Option<Embedding>,
    position_bias: PositionBias,
    blocks: LayerStack<T5Block>,
    final_layer_norm: RmsNorm,
}

impl fmt::Debug for T5Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("T5Encoder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl T5Encoder {
    /// The weights of a T5 in a file that is one, by the names of transformers: a file of transformers, of ComfyUI or of
    /// llama.cpp (GGUF). Nothing is read.
    #[must_use]
    pub fn weights(checkpoint: &Arc<Checkpoint>) -> Weights {
        let names = checkpoint.tensors().map(|tensor| tensor.name.clone());
        let names = names.filter_map(|name| Some((tensor_names::t5::to_canonical(&name)?, name)));
        Weights::renamed(checkpoint.clone(), names.collect())
    }

    /// Loads an encoder from tensors named as transformers names them.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &T5Config, loading: LayerLoading) -> Result<T5Encoder, Error> {
        let device = params.device().more_exact().unwrap_or(params.device().clone());
        let params = params.clone().on(&device);
        let encoder = params.scope("encoder");
        let table = match loading {
            LayerLoading::AllAtOnce => Some(token_table(&params, config)?),
            LayerLoading::OneByOne => None,
        };
        Ok(T5Encoder {
            table,
            position_bias: PositionBias::load(&encoder.scope("block.0.layer.0.SelfAttention"), config.heads)?,
            blocks: LayerStack::load(&encoder.scope("block"), *config, config.layers, loading)?,
            final_layer_norm: encoder.rms_norm("final_layer_norm", config.width, EPS)?,
            params: params.stored(),
            device,
            config: *config,
        })
    }

    /// Its sizes.
    #[must_use]
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// Hidden states of texts, `[tokens, width]` each, in main memory. Each layer is a block of `progress`. Padding is attended
    /// to as any token, as SD 3 and Flux have it, or, with `masks_padding`, by no token, as Chroma has it.
    ///
    /// # Errors
    /// A token past the vocabulary, a text without tokens, a layer that cannot be read, [`Error::Cancelled`].
    pub fn encode(
        &self,
        texts: &[PaddedTokens],
        masks_padding: bool,
        progress: &mut BlockCount<'_>,
    ) -> Result<Vec<Tensor>, Error> {
        let device = &self.device;
        let mut batches = match &self.table {
            Some(table) => TextBatch::of(texts, table, device)?,
            None => TextBatch::of(texts, &token_table(&self.params.params(), &self.config)?, device)?,
        };
        let biases = batches.iter().map(|batch| self.position_bias.of(batch.tokens, device));
        let biases: Vec<Tensor> = biases.collect::<Result<_, _>>()?;
        self.blocks.for_each(|_, block| {
            for (batch, bias) in batches.iter_mut().zip(&biases) {
                let lengths = masks_padding.then_some(&batch.lengths[..]);
                batch.x = block.forward(batch.x.clone(), bias, lengths)?;
            }
            progress.add()
        })?;
        let mut states = vec![None; texts.len()];
        for batch in &batches {
            batch.place(&ops::rms_norm(&batch.x, &self.final_layer_norm)?, &mut states)?;
        }
        Ok(states.into_iter().flatten().collect())
    }

    /// Number of blocks that encoding computes, those of a [`BlockCount`].
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks.count()
    }
}

fn token_table(params: &Params<'_>, config: &T5Config) -> Result<Embedding, Error> {
    params.embedding("shared", [config.vocabulary, config.width])
}
