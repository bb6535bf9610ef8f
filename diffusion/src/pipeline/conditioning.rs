//! Prompts as states of the text encoders.

use crate::Error;
use crate::embeddings::Words;
use crate::prompt::{self, Chunk};
use crate::text::PartEncoder;
use latent_tensor::{Tensor, ops};

/// What steers the sampling: states of the prompts and of the negative prompts, in main memory.
#[derive(Debug)]
pub struct Conditioning {
    /// `[prompts, tokens, width]`
    pub positive: Tensor,
    /// `[prompts, tokens, width]`
    pub negative: Tensor,
    /// The pooled texts, for models that take them.
    pub pooled: Option<Pooled>,
    /// What steers the refiner, where there is one.
    pub refiner: Option<Box<Conditioning>>,
}

/// Whole prompts as one vector each, in main memory.
#[derive(Debug)]
pub struct Pooled {
    /// `[prompts, width]`
    pub positive: Tensor,
    /// `[prompts, width]`
    pub negative: Tensor,
}

impl Conditioning {
    /// Encodes prompts. All are filled up to the length of the longest. Without negative prompts, theirs are the states of an
    /// empty one, or zeros.
    pub(super) fn encode(
        encoders: &[PartEncoder],
        positive: &[&str],
        negative: &[&str],
        clip_skip: usize,
        zero_negative: bool,
        words: &Words,
    ) -> Result<Conditioning, Error> {
        let is_zero = negative.is_empty() && zero_negative;
        let negative = if negative.is_empty() { &[""] } else { negative };
        let (mut positive_states, mut negative_states, mut pooled) = (None, None, None);
        for encoder in encoders {
            let padding = encoder.part().padding;
            let chunks = |texts: &[&str]| -> Vec<Vec<Chunk>> {
                texts.iter().map(|text| prompt::encode_with(text, padding, words)).collect()
            };
            let (mut positive, mut negative) = (chunks(positive), chunks(negative));
            let longest = positive.iter().chain(&negative).map(Vec::len).max().unwrap_or(1);
            for chunks in positive.iter_mut().chain(&mut negative) {
                chunks.resize(longest, Chunk::empty(padding));
            }
            let (states, positive) = states(encoder, &positive, clip_skip)?;
            positive_states = Some(beside(positive_states, states)?);
            let (states, negative) = self::states(encoder, &negative, clip_skip)?;
            negative_states = Some(beside(negative_states, states)?);
            if let (Some(positive), Some(negative)) = (positive, negative) {
                pooled = Some(Pooled { positive, negative });
            }
        }
        let (Some(positive), Some(mut negative)) = (positive_states, negative_states) else {
            unreachable!("every model has a text encoder")
        };
        if is_zero {
            negative = Tensor::zeros(negative.dims())?;
            if let Some(pooled) = &mut pooled {
                pooled.negative = Tensor::zeros(pooled.negative.dims())?;
            }
        }
        Ok(Conditioning { positive, negative, pooled, refiner: None })
    }
}

/// States of several encoders side by side.
fn beside(left: Option<Tensor>, right: Tensor) -> Result<Tensor, Error> {
    match left {
        Some(left) => Ok(ops::concat_channels(&left, &right)?),
        None => Ok(right),
    }
}

/// States of prompts of equally many chunks, their chunks one after the other: `[prompts, 77 chunks, width]`; and the pooled
/// text of each one's first chunk, `[prompts, width]`.
fn states(
    encoder: &PartEncoder,
    prompts: &[Vec<Chunk>],
    clip_skip: usize,
) -> Result<(Tensor, Option<Tensor>), Error> {
    let chunks: Vec<&Chunk> = prompts.iter().flatten().collect();
    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.ids).collect();
    let encoded = encoder.encode(&ids, clip_skip)?;
    let mut states = encoded.states;
    let dims = states.dims().to_vec();
    let (tokens, width) = (dims[1], dims[2]);
    for (states, chunk) in states.f32s_mut()?.chunks_exact_mut(tokens * width).zip(&chunks) {
        prompt::emphasize(states, &chunk.weights);
    }
    let per_prompt = dims[0] / prompts.len();
    let first = |pooled: Tensor| -> Result<Tensor, Error> {
        let rows = pooled.f32s()?.chunks_exact(width).step_by(per_prompt);
        Ok(Tensor::from_f32(&[prompts.len(), width], &rows.flatten().copied().collect::<Vec<_>>())?)
    };
    let pooled = encoded.pooled.map(first).transpose()?;
    Ok((states.reshape(&[prompts.len(), per_prompt * tokens, width])?, pooled))
}
