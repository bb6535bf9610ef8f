//! A text encoder as a model uses it: which of its hidden states, and the pooled text.

use super::{TextConfig, TextEncoder};
use crate::blocks::BlockCount;
use crate::tokenizer::{CONTEXT, END};
use crate::{Error, params::Params};
use latent_tensor::{Device, Linear, Tensor, ops};

/// One of the text encoders of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPart {
    /// Scope of its weights within those of the model.
    pub scope: &'static str,
    /// Its sizes.
    pub config: TextConfig,
    /// Token that fills up a prompt.
    pub padding: u32,
    /// The CLIP skip that the model was trained with; 1 uses all layers. A user's CLIP skip leaves out more.
    pub skip: usize,
    /// Whether the hidden states go through the final layer norm.
    pub final_norm: bool,
    /// Whether the model takes the pooled text as well.
    pub pooled: bool,
    /// Whether the pooled text goes through a projection.
    pub projected: bool,
}

impl TextPart {
    /// Removes the layers that `skip` leaves out, unless the pooled text needs them.
    pub(crate) fn leave_out_unused(&mut self) {
        let unused = self.skip.saturating_sub(1);
        if !self.pooled && unused < self.config.layers {
            self.config.layers -= unused;
            self.skip -= unused;
        }
    }
}

/// The output of a text encoder, in main memory.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Hidden states, `[chunks, 77, width]`.
    pub states: Tensor,
    /// The pooled text of each chunk, `[chunks, width]`, where the model takes it.
    pub pooled: Option<Tensor>,
}

/// A loaded [`TextPart`].
#[derive(Debug)]
pub struct PartEncoder {
    part: TextPart,
    encoder: TextEncoder,
    text_projection: Option<Linear>,
}

impl PartEncoder {
    /// Loads it from the tensors below its scope.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, part: &TextPart) -> Result<PartEncoder, Error> {
        let width = part.config.width;
        Ok(PartEncoder {
            encoder: TextEncoder::load(&params.scope("text_model"), &part.config)?,
            text_projection: (part.pooled && part.projected)
                .then(|| params.projection("text_projection", [width, width]))
                .transpose()?,
            part: part.clone(),
        })
    }

    /// Its description.
    #[must_use]
    pub fn part(&self) -> &TextPart {
        &self.part
    }

    /// The encoder itself.
    #[must_use]
    pub fn encoder(&self) -> &TextEncoder {
        &self.encoder
    }

    /// As [`TextEncoder::learn`].
    pub fn learn(&mut self, vectors: &[f32]) {
        self.encoder.learn(vectors);
    }

    /// Encodes chunks. A `clip_skip` of 1 is the model's own, each further one leaves out one more layer.
    ///
    /// # Errors
    /// A token past the vocabulary, a CLIP skip of 0 or of more than the layers.
    pub fn encode(&self, chunks: &[[u32; CONTEXT]], clip_skip: usize) -> Result<Encoded, Error> {
        self.encode_counted(chunks, clip_skip, &mut BlockCount::unwatched())
    }

    /// The skip of [`TextEncoder::encode`] for a user's CLIP skip.
    fn skip(&self, clip_skip: usize) -> usize {
        if clip_skip == 0 { 0 } else { self.part.skip - 1 + clip_skip }
    }

    /// Number of layers that encoding computes, the blocks of a [`BlockCount`].
    pub(crate) fn blocks(&self, clip_skip: usize) -> usize {
        let layers = self.part.config.layers;
        if self.part.pooled { layers } else { (layers + 1).saturating_sub(self.skip(clip_skip)) }
    }

    /// As [`PartEncoder::encode`], with each layer reported.
    pub(crate) fn encode_counted(
        &self,
        chunks: &[[u32; CONTEXT]],
        clip_skip: usize,
        count: &mut BlockCount<'_>,
    ) -> Result<Encoded, Error> {
        let (skip, all) = (self.skip(clip_skip), self.part.pooled);
        let (states, last) = self.encoder.hidden_and_last(chunks, skip, all, count)?;
        let states = if self.part.final_norm { self.encoder.normalized(&states)? } else { states };
        let pooled = self.part.pooled.then(|| self.pooled(&last, chunks)).transpose()?;
        Ok(Encoded { states: states.to(&Device::Cpu)?, pooled })
    }

    /// The hidden state after all layers at each chunk's first end token, after the final layer norm, and times the projection
    /// where there is one.
    fn pooled(&self, last: &Tensor, chunks: &[[u32; CONTEXT]]) -> Result<Tensor, Error> {
        let width = self.part.config.width;
        let normalized = self.encoder.normalized(last)?.to(&Device::Cpu)?;
        let mut rows = Vec::with_capacity(chunks.len() * width);
        for (states, ids) in normalized.f32s()?.chunks_exact(CONTEXT * width).zip(chunks) {
            let end = ids.iter().position(|id| *id == END).unwrap_or(CONTEXT - 1);
            rows.extend_from_slice(&states[end * width..][..width]);
        }
        let rows = Tensor::from_f32(&[chunks.len(), width], &rows)?;
        let Some(layer) = &self.text_projection else { return Ok(rows) };
        Ok(ops::linear(&rows.to(&last.device())?, layer)?.to(&Device::Cpu)?)
    }
}
