//! Qwen3 as a text encoder (`Qwen3Model`; Yang et al., Qwen3 Technical Report, 2025): hidden states of some of its layers.

mod chat;
mod config;
mod layer;

pub use chat::{ChatTemplate, FLUX_2_KLEIN, Qwen3Prompting, Z_IMAGE};
pub use config::Qwen3Config;

use super::batch::TextBatch;
use super::layers::{LayerLoading, LayerStack};
use crate::blocks::BlockCount;
use crate::params::{Params, StoredParams};
use crate::tokenizer::PaddedTokens;
use crate::{Error, tensor_names};
use latent_loader::{Checkpoint, Weights};
use latent_tensor::{Device, Embedding, RmsNorm, RotaryPairing, RotaryTable, Tensor, ops};
use layer::Qwen3Layer;
use std::fmt;
use std::sync::Arc;

/// Added to the mean of the squares in all norms.
const EPS: f32 = 1e-6;
/// The base of the rotations' wavelengths.
const ROPE_THETA: f64 = 1e6;

/// A Qwen3 that gives hidden states of chosen layers. It computes in `f32` on every device: hidden states of language models have
/// single channels of great size, near what `f16` can hold.
pub struct Qwen3Encoder {
    params: StoredParams,
    device: Device,
    config: Qwen3Config,
    /// The hidden states it gives, by transformers' index: 0 is the token embeddings.
    states: Vec<usize>,
    /// Nothing if it is read for each call.
    table: Option<Embedding>,
    layers: LayerStack<Qwen3Layer>,
    /// The norm after all layers, where that is asked for.
    norm: Option<RmsNorm>,
}

impl fmt::Debug for Qwen3Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Qwen3Encoder { config, states, .. } = self;
        f.debug_struct("Qwen3Encoder").field("config", config).field("states", states).finish_non_exhaustive()
    }
}

impl Qwen3Encoder {
    /// The weights of a Qwen3 in a file that is one, by the names of transformers: a file of transformers, of ComfyUI or of
    /// llama.cpp (GGUF). Nothing is read.
    #[must_use]
    pub fn weights(checkpoint: &Arc<Checkpoint>) -> Weights {
        let names = checkpoint.tensors().map(|tensor| tensor.name.clone());
        let names = names.filter_map(|name| Some((tensor_names::qwen3::to_canonical(&name)?, name)));
        Weights::renamed(checkpoint.clone(), names.collect())
    }

    /// Loads an encoder from tensors named as transformers names them. `states` are the hidden states that it is to give, as
    /// indices of transformers' `hidden_states`: 0 is the token embeddings, `i` follows layer `i`, and the last index follows
    /// the final norm too; negative ones count from the end. Layers that none of them needs are not read.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable, a hidden state that the model has not.
    pub fn load(
        params: &Params<'_>,
        config: &Qwen3Config,
        states: &[isize],
        loading: LayerLoading,
    ) -> Result<Qwen3Encoder, Error> {
        let device = params.device().more_exact().unwrap_or(params.device().clone());
        let params = params.clone().on(&device).scope("model");
        let lacking = |state| {
            let layers = config.layers;
            params.refuse(format!(
                "has {layers} layers, and hidden state {state} is needed; give a larger Qwen3"
            ))
        };
        let states = states.iter().map(|state| config.state_index(*state).ok_or_else(|| lacking(*state)));
        let states: Vec<usize> = states.collect::<Result<_, _>>()?;
        let count = states.iter().copied().max().unwrap_or(0);
        let table = match loading {
            LayerLoading::AllAtOnce => Some(token_table(&params, config)?),
            LayerLoading::OneByOne => None,
        };
        Ok(Qwen3Encoder {
            table,
            layers: LayerStack::load(&params.scope("layers"), *config, count, loading)?,
            norm: (count == config.layers).then(|| params.rms_norm("norm", config.width, EPS)).transpose()?,
            params: params.stored(),
            device,
            config: *config,
            states,
        })
    }

    /// Its sizes.
    #[must_use]
    pub fn config(&self) -> &Qwen3Config {
        &self.config
    }

    /// The hidden states of texts, in main memory: `[tokens, states * width]` each, the chosen states of a token one after the
    /// other. Each layer is a block of `progress`. A token attends to itself and those before it that are not padding.
    ///
    /// # Errors
    /// A token past the vocabulary, a text without tokens, a layer that cannot be read, [`Error::Cancelled`].
    pub fn encode(
        &self,
        texts: &[PaddedTokens],
        progress: &mut BlockCount<'_>,
    ) -> Result<Vec<Tensor>, Error> {
        let device = &self.device;
        let mut batches = match &self.table {
            Some(table) => TextBatch::of(texts, table, device)?,
            None => TextBatch::of(texts, &token_table(&self.params.params(), &self.config)?, device)?,
        };
        let rotations = batches.iter().map(|batch| self.rotations(batch.tokens, device));
        let rotations: Vec<RotaryTable> = rotations.collect::<Result<_, _>>()?;
        let mut kept = vec![vec![None; texts.len()]; self.states.len()];
        self.keep(0, &batches, &mut kept)?;
        self.layers.for_each(|index, layer| {
            for (batch, rotations) in batches.iter_mut().zip(&rotations) {
                batch.x = layer.forward(batch.x.clone(), rotations, &batch.lengths)?;
            }
            self.keep(index, &batches, &mut kept)?;
            progress.add()
        })?;
        (0..texts.len()).map(|text| side_by_side(kept.iter().map(|states| &states[text]))).collect()
    }

    /// Keeps a hidden state of all texts where it is asked for.
    fn keep(
        &self,
        index: usize,
        batches: &[TextBatch],
        kept: &mut [Vec<Option<Tensor>>],
    ) -> Result<(), Error> {
        for (state, all) in self.states.iter().zip(kept).filter(|(state, _)| **state == index) {
            for batch in batches {
                match &self.norm {
                    Some(norm) if *state == self.config.layers => {
                        batch.place(&ops::rms_norm(&batch.x, norm)?, all)?;
                    }
                    _ => batch.place(&batch.x, all)?,
                }
            }
        }
        Ok(())
    }

    /// The rotations of the first tokens.
    fn rotations(&self, tokens: usize, device: &Device) -> Result<RotaryTable, Error> {
        let positions: Vec<[f64; 1]> = (0..tokens).map(|position| [position as f64]).collect();
        let axes = [self.config.head_width];
        Ok(RotaryTable::new(axes, ROPE_THETA, &positions, RotaryPairing::Halves)?.to(device)?)
    }

    /// Number of layers that encoding computes, the blocks of a [`BlockCount`].
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.layers.count()
    }
}

fn token_table(params: &Params<'_>, config: &Qwen3Config) -> Result<Embedding, Error> {
    params.embedding("embed_tokens", [config.vocabulary, config.width])
}

/// The rows of several matrices of one shape side by side.
fn side_by_side<'a>(states: impl Iterator<Item = &'a Option<Tensor>>) -> Result<Tensor, Error> {
    let states: Vec<&Tensor> = states.flatten().collect();
    let (&[tokens, width], count) = (states.first().map_or(&[0, 0][..], |first| first.dims()), states.len())
    else {
        unreachable!("states of a text have two dimensions")
    };
    let mut out = Tensor::zeros(&[tokens, count * width])?;
    let values = states.iter().map(|states| states.f32s()).collect::<Result<Vec<_>, _>>()?;
    for (i, out) in out.f32s_mut()?.chunks_exact_mut(width.max(1)).enumerate() {
        let (token, state) = (i / count, i % count);
        out.copy_from_slice(&values[state][token * width..][..width]);
    }
    Ok(out)
}
