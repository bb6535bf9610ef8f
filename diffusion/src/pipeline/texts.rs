//! Texts as states of the text encoders.

use super::decode::expect_finite;
use crate::Error;
use crate::embeddings::LearnedEmbeddings;
use crate::prompt::{self, Chunk};
use crate::text::PartEncoder;
use crate::tokenizer::CONTEXT;

/// Most chunks of 75 tokens in all texts of a run together: of Stable Diffusion 1.x their states take a gigabyte.
const MOST_CHUNKS: usize = 4096;
/// Named in errors.
const STAGE: &str = "text encoder";
/// Chunks that are encoded at once.
const AT_ONCE: usize = 16;

/// Different texts, encoded.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) all: Vec<Text>,
    /// A chunk without words, `[77, width]`: fills up the shorter of two prompts.
    pub(super) empty: Vec<f32>,
    /// Width of the states of all text encoders together.
    pub(super) width: usize,
}

#[derive(Debug)]
pub(super) struct Text {
    /// `[77 chunks, width]`; nothing for a text of zeros.
    states: Vec<f32>,
    pub(super) chunks: usize,
    pooled: Option<Vec<f32>>,
}

/// An encoded text.
pub(super) struct TextRef<'a> {
    pub(super) text: &'a Text,
    pub(super) texts: &'a Texts,
}

impl<'a> TextRef<'a> {
    /// Its states, filled up to so many chunks.
    pub(super) fn states(&self, chunks: usize) -> Vec<f32> {
        let Texts { empty, width, .. } = self.texts;
        let mut states = self.text.states.clone();
        if states.is_empty() {
            states.resize(chunks * CONTEXT * width, 0.0);
        } else {
            (self.text.chunks..chunks).for_each(|_| states.extend_from_slice(empty));
        }
        states
    }

    /// The pooled text.
    pub(super) fn pooled(&self) -> Option<&'a [f32]> {
        self.text.pooled.as_deref()
    }
}

impl Texts {
    /// Encodes texts, each into its place.
    pub(super) fn encode(
        encoders: &[PartEncoder],
        texts: &[String],
        clip_skip: usize,
        words: &LearnedEmbeddings,
    ) -> Result<Texts, Error> {
        let width = encoders.iter().map(|encoder| encoder.part().config.width).sum();
        let mut out = Texts { width, ..Texts::default() };
        let mut left = 0;
        for encoder in encoders {
            let padding = encoder.part().padding;
            let mut counts = Vec::new();
            let mut chunks: Vec<Chunk> = Vec::new();
            for text in texts {
                let own = prompt::encode_with(text, padding, words);
                counts.push(own.len());
                chunks.extend(own);
                if chunks.len() > MOST_CHUNKS {
                    let reason = format!(
                        "all texts of this run have more than {MOST_CHUNKS} chunks of 75 tokens; shorten the prompt, or what \
                         changes in it"
                    );
                    return Err(Error::Setting { name: "prompt", reason });
                }
            }
            if counts.windows(2).any(|pair| pair[0] != pair[1]) {
                chunks.push(Chunk::empty(padding));
            }
            let own = encoder.part().config.width;
            let states = encode_chunks(encoder, &chunks, clip_skip)?;
            let mut states = states.into_iter();
            if out.all.is_empty() {
                let text = |count: &usize| Text {
                    states: vec![0.0; count * CONTEXT * width],
                    chunks: *count,
                    pooled: None,
                };
                out.all = counts.iter().map(text).collect();
                out.empty =
                    if chunks.len() > counts.iter().sum() { vec![0.0; CONTEXT * width] } else { Vec::new() };
            }
            let beside = |to: &mut [f32], from: &[f32]| {
                for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(own)) {
                    to[left..left + own].copy_from_slice(from);
                }
            };
            for text in &mut out.all {
                for (chunk, to) in text.states.chunks_exact_mut(CONTEXT * width).enumerate() {
                    let Some(encoded) = states.next() else { unreachable!("all were encoded") };
                    beside(to, &encoded.states);
                    if let (0, Some(pooled)) = (chunk, encoded.pooled) {
                        text.pooled = Some(pooled);
                    }
                }
            }
            if let Some(encoded) = states.next() {
                beside(&mut out.empty, &encoded.states);
            }
            left += own;
        }
        for text in &out.all {
            expect_finite(STAGE, &text.states)?;
            expect_finite(STAGE, text.pooled.as_deref().unwrap_or_default())?;
        }
        Ok(out)
    }

    /// Adds a text of zeros, as short as can be.
    pub(super) fn add_zeros(&mut self) {
        let pooled = self.all.first().and_then(|text| text.pooled.as_ref());
        let pooled = pooled.map(|pooled| vec![0.0; pooled.len()]);
        self.all.push(Text { states: Vec::new(), chunks: 1, pooled });
    }
}

/// A chunk of a text, encoded.
struct EncodedChunk {
    /// `[77, width]`
    states: Vec<f32>,
    pooled: Option<Vec<f32>>,
}

fn encode_chunks(
    encoder: &PartEncoder,
    chunks: &[Chunk],
    clip_skip: usize,
) -> Result<Vec<EncodedChunk>, Error> {
    let mut out = Vec::new();
    let width = encoder.part().config.width;
    for chunks in chunks.chunks(AT_ONCE) {
        let ids: Vec<_> = chunks.iter().map(|chunk| chunk.ids).collect();
        let encoded = encoder.encode(&ids, clip_skip)?;
        let pooled = encoded.pooled.as_ref().map(|pooled| pooled.f32s()).transpose()?;
        for (place, (states, chunk)) in
            encoded.states.f32s()?.chunks_exact(CONTEXT * width).zip(chunks).enumerate()
        {
            let mut states = states.to_vec();
            prompt::emphasize(&mut states, &chunk.weights);
            let pooled = pooled.map(|pooled| {
                let width = pooled.len() / chunks.len();
                pooled[place * width..][..width].to_vec()
            });
            out.push(EncodedChunk { states, pooled });
        }
    }
    Ok(out)
}
