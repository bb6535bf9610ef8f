//! Texts as hidden states of the text encoders.

use crate::blocks::BlockCount;
use crate::embeddings::LearnedEmbeddings;
use crate::prompt::{self, Chunk};
use crate::setting::Setting;
use crate::stage::{Stage, expect_finite};
use crate::text::{LanguageEncoder, LanguageStates, PartEncoder, TextLayout};
use crate::tokenizer::CONTEXT;
use crate::{Error, Listener};

/// Maximum chunks in all texts of a run together: the hidden states of as many take a gigabyte for Stable Diffusion 1.x.
const MAX_CHUNKS: usize = 4096;
/// Chunks that are encoded at once.
const CHUNKS_AT_ONCE: usize = 16;

/// The text encoders of a model, loaded.
#[derive(Default)]
pub(super) struct TextEncoders {
    /// Those of CLIP.
    pub(super) clip: Vec<PartEncoder>,
    /// The large one.
    pub(super) language: Option<LanguageEncoder>,
}

impl TextEncoders {
    pub(super) fn is_empty(&self) -> bool {
        self.clip.is_empty() && self.language.is_none()
    }
}

/// Different texts, encoded.
#[derive(Debug, Default)]
pub(super) struct EncodedTexts {
    pub(super) all: Vec<EncodedText>,
    /// A chunk without words, `[chunk_tokens, width]`, which pads the shorter of two prompts; nothing where all texts are
    /// of one length.
    pub(super) empty: Vec<f32>,
    /// Width of the hidden states.
    pub(super) width: usize,
    /// Tokens of a chunk of CLIP, of which prompts have whole numbers.
    chunk_tokens: usize,
}

#[derive(Debug)]
pub(super) struct EncodedText {
    /// Those of CLIP, `[clip_tokens, width]`; nothing for a text of zeros.
    hidden_states: Vec<f32>,
    clip_tokens: usize,
    pooled: Option<Vec<f32>>,
    /// Those of the large text encoder, which follow.
    language: LanguageStates,
}

impl EncodedText {
    /// All tokens.
    pub(super) fn tokens(&self) -> usize {
        self.clip_tokens + self.language.tokens
    }
}

/// One of the encoded texts.
pub(super) struct EncodedTextRef<'a> {
    pub(super) text: &'a EncodedText,
    pub(super) texts: &'a EncodedTexts,
}

impl<'a> EncodedTextRef<'a> {
    /// Its hidden states, padded to a number of tokens: those of CLIP by chunks without words, those of the large text encoder by
    /// zeros.
    pub(super) fn hidden_states(&self, tokens: usize) -> Vec<f32> {
        let EncodedTexts { empty, width, chunk_tokens, .. } = self.texts;
        let EncodedText { hidden_states, clip_tokens, language, .. } = self.text;
        let mut states = hidden_states.clone();
        if !states.is_empty() {
            let missing = (*clip_tokens..tokens.saturating_sub(language.tokens)).step_by(*chunk_tokens);
            missing.for_each(|_| states.extend_from_slice(empty));
        }
        states.extend_from_slice(&language.values);
        states.resize(tokens * width, 0.0);
        states
    }

    /// The pooled text.
    pub(super) fn pooled(&self) -> Option<&'a [f32]> {
        self.text.pooled.as_deref()
    }

    /// Tokens that are not padding of the large text encoder.
    pub(super) fn length(&self) -> usize {
        self.text.clip_tokens + self.text.language.count
    }
}

impl EncodedTexts {
    /// Encodes texts, each at its index, and lays their hidden states out as the model's network reads them.
    pub(super) fn encode(
        encoders: &TextEncoders,
        (texts, layout): (&[String], TextLayout),
        clip_skip: usize,
        words: &LearnedEmbeddings,
        listener: &mut Listener<'_>,
    ) -> Result<EncodedTexts, Error> {
        let TextEncoders { clip, language } = encoders;
        let all = clip.iter().map(|encoder| text_chunks(texts, encoder.part().padding, words));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let blocks = |(encoder, (chunks, _)): (&PartEncoder, &(Vec<Chunk>, Vec<usize>))| {
            chunks.len().div_ceil(CHUNKS_AT_ONCE) * encoder.blocks(clip_skip)
        };
        let total = clip.iter().zip(&all).map(blocks).sum::<usize>();
        let total = total + language.as_ref().map_or(0, LanguageEncoder::blocks);
        let mut count = BlockCount::new(Stage::TextEncoding, total, listener);
        let clip_width = clip.iter().map(|encoder| encoder.part().config.width).sum();
        let mut out = EncodedTexts { width: layout.width(clip_width), ..EncodedTexts::default() };
        let mut left = 0;
        for (encoder, (chunks, counts)) in clip.iter().zip(all) {
            out.chunk_tokens = CONTEXT;
            let part = encoder.part();
            let own = part.config.width;
            let place = ClipPlace { left: layout.column(part).unwrap_or(left), own, layout };
            let mut encoded = encode_chunks(encoder, &chunks, clip_skip, &mut count)?.into_iter();
            if out.all.is_empty() {
                out.reserve(&counts, chunks.len() > counts.iter().sum());
            }
            out.put(place, &mut encoded);
            left += own;
        }
        out.add_language(texts, (language.as_ref(), layout), &mut count)?;
        for text in &out.all {
            expect_finite(Stage::TextEncoding, &text.hidden_states)?;
            expect_finite(Stage::TextEncoding, text.pooled.as_deref().unwrap_or_default())?;
            expect_finite(Stage::TextEncoding, &text.language.values)?;
        }
        Ok(out)
    }

    /// Adds the states of the large text encoder, or the zeros that stand for them.
    fn add_language(
        &mut self,
        texts: &[String],
        (encoder, layout): (Option<&LanguageEncoder>, TextLayout),
        count: &mut BlockCount<'_>,
    ) -> Result<(), Error> {
        let pooled = layout.pooled_width().map(|width| vec![0.0; width]);
        if self.all.is_empty() {
            // No encoder of CLIP: zeros stand for one chunk where the network reads those.
            let clip_tokens = if layout.has_clip_states() { CONTEXT } else { 0 };
            self.chunk_tokens = clip_tokens;
            let text = || EncodedText {
                hidden_states: vec![0.0; clip_tokens * self.width],
                clip_tokens,
                pooled: pooled.clone(),
                language: LanguageStates::default(),
            };
            self.all = texts.iter().map(|_| text()).collect();
        } else if !layout.has_clip_states() {
            // Of CLIP the network reads the pooled text alone.
            for text in &mut self.all {
                (text.hidden_states, text.clip_tokens) = (Vec::new(), 0);
            }
        }
        let states = match encoder {
            Some(encoder) => encoder.encode(texts, count)?,
            None => texts.iter().map(|_| layout.missing_language()).collect(),
        };
        for (text, states) in self.all.iter_mut().zip(states) {
            text.language = states;
        }
        Ok(())
    }

    /// Makes room for texts of these numbers of chunks, and for a chunk without words.
    fn reserve(&mut self, counts: &[usize], has_empty: bool) {
        let chunk = self.chunk_tokens * self.width;
        let text = |count: &usize| EncodedText {
            hidden_states: vec![0.0; count * chunk],
            clip_tokens: count * self.chunk_tokens,
            pooled: None,
            language: LanguageStates::default(),
        };
        self.all = counts.iter().map(text).collect();
        self.empty = if has_empty { vec![0.0; chunk] } else { Vec::new() };
    }

    /// Puts the hidden states and the pooled text of one text encoder into their columns.
    fn put(&mut self, place: ClipPlace, encoded: &mut impl Iterator<Item = EncodedChunk>) {
        let (width, ClipPlace { left, own, layout }) = (self.width, place);
        let put = |to: &mut [f32], from: &[f32]| {
            if layout.has_clip_states() {
                for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(own)) {
                    to[left..left + own].copy_from_slice(from);
                }
            }
        };
        for text in &mut self.all {
            for (chunk, to) in text.hidden_states.chunks_exact_mut(self.chunk_tokens * width).enumerate() {
                let Some(encoded) = encoded.next() else { unreachable!("all were encoded") };
                put(to, &encoded.hidden_states);
                let (0, Some(pooled)) = (chunk, encoded.pooled) else { continue };
                match layout.pooled_width() {
                    Some(width) => {
                        let all = text.pooled.get_or_insert_with(|| vec![0.0; width]);
                        all[left..left + own].copy_from_slice(&pooled);
                    }
                    None => text.pooled = Some(pooled),
                }
            }
        }
        if let Some(encoded) = encoded.next() {
            put(&mut self.empty, &encoded.hidden_states);
        }
    }

    /// Adds a text of zeros, a chunk long.
    pub(super) fn add_zeros(&mut self) {
        let pooled = self.all.first().and_then(|text| text.pooled.as_ref());
        let pooled = pooled.map(|pooled| vec![0.0; pooled.len()]);
        let (hidden_states, clip_tokens, language) =
            (Vec::new(), self.chunk_tokens, LanguageStates::default());
        self.all.push(EncodedText { hidden_states, clip_tokens, pooled, language });
    }
}

/// Where the states of a text encoder of CLIP are put.
#[derive(Clone, Copy)]
struct ClipPlace {
    /// The first column.
    left: usize,
    /// The number of columns.
    own: usize,
    layout: TextLayout,
}

/// The chunks of all texts, and how many each text has. Where these differ, a chunk without words follows.
fn text_chunks(
    texts: &[String],
    padding: u32,
    words: &LearnedEmbeddings,
) -> Result<(Vec<Chunk>, Vec<usize>), Error> {
    let (mut chunks, mut counts) = (Vec::new(), Vec::new());
    for text in texts {
        let own = prompt::encode_bounded(text, padding, words)?;
        counts.push(own.len());
        chunks.extend(own);
        if chunks.len() > MAX_CHUNKS {
            let reason = format!(
                "all texts of this run have more than {MAX_CHUNKS} chunks of 75 tokens; shorten the prompt, or what \
                 changes in it"
            );
            return Err(Error::setting(Setting::Prompt, reason));
        }
    }
    if counts.windows(2).any(|pair| pair[0] != pair[1]) {
        chunks.push(Chunk::empty(padding));
    }
    Ok((chunks, counts))
}

/// A chunk of a text, encoded.
struct EncodedChunk {
    /// `[chunk_tokens, width]`
    hidden_states: Vec<f32>,
    pooled: Option<Vec<f32>>,
}

fn encode_chunks(
    encoder: &PartEncoder,
    chunks: &[Chunk],
    clip_skip: usize,
    count: &mut BlockCount<'_>,
) -> Result<Vec<EncodedChunk>, Error> {
    let mut out = Vec::new();
    for chunks in chunks.chunks(CHUNKS_AT_ONCE) {
        let ids: Vec<_> = chunks.iter().map(|chunk| chunk.ids).collect();
        let encoded = encoder.encode_counted(&ids, clip_skip, count)?;
        let pooled = encoded.pooled.as_ref().map(|pooled| pooled.f32s()).transpose()?;
        let states = encoded.states.f32s()?;
        let len = states.len() / chunks.len();
        for (index, (states, chunk)) in states.chunks_exact(len).zip(chunks).enumerate() {
            let mut hidden_states = states.to_vec();
            prompt::emphasize(&mut hidden_states, &chunk.weights);
            let pooled = pooled.map(|pooled| {
                let width = pooled.len() / chunks.len();
                pooled[index * width..][..width].to_vec()
            });
            out.push(EncodedChunk { hidden_states, pooled });
        }
    }
    Ok(out)
}
