//! Prompts as states of the text encoder.

use crate::Error;
use crate::prompt::{self, Chunk};
use crate::text::TextEncoder;
use latent_tensor::{Device, Tensor};

/// What steers the sampling: states of the prompts and of the negative prompts, in main memory.
#[derive(Debug)]
pub struct Conditioning {
    /// `[prompts, tokens, width]`
    pub positive: Tensor,
    /// `[prompts, tokens, width]`
    pub negative: Tensor,
}

impl Conditioning {
    /// Encodes prompts cut into chunks. All are filled up to the length of the longest.
    pub(super) fn encode(
        encoder: &TextEncoder,
        mut positive: Vec<Vec<Chunk>>,
        mut negative: Vec<Vec<Chunk>>,
        clip_skip: usize,
        padding: u32,
    ) -> Result<Conditioning, Error> {
        let longest = positive.iter().chain(&negative).map(Vec::len).max().unwrap_or(1);
        for chunks in positive.iter_mut().chain(&mut negative) {
            chunks.resize(longest, Chunk::empty(padding));
        }
        Ok(Conditioning {
            positive: states(encoder, &positive, clip_skip)?,
            negative: states(encoder, &negative, clip_skip)?,
        })
    }
}

/// States of prompts of equally many chunks, their chunks one after the other: `[prompts, 77 chunks, width]`.
fn states(encoder: &TextEncoder, prompts: &[Vec<Chunk>], clip_skip: usize) -> Result<Tensor, Error> {
    let chunks: Vec<&Chunk> = prompts.iter().flatten().collect();
    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.ids).collect();
    let mut states = encoder.encode(&ids, clip_skip)?.to(&Device::Cpu)?;
    let dims = states.dims().to_vec();
    let (tokens, width) = (dims[1], dims[2]);
    for (states, chunk) in states.f32s_mut()?.chunks_exact_mut(tokens * width).zip(&chunks) {
        prompt::emphasize(states, &chunk.weights);
    }
    Ok(states.reshape(&[prompts.len(), dims[0] * tokens / prompts.len(), width])?)
}
