//! Texts of the same length as one tensor.

use crate::Error;
use crate::tokenizer::PaddedTokens;
use latent_tensor::{Device, Embedding, Tensor, ops};

/// Texts of one length, with their padding.
pub(super) struct TextBatch {
    /// Their places among all texts.
    places: Vec<usize>,
    /// Tokens of each.
    pub(super) tokens: usize,
    /// Tokens of each text that are not padding.
    pub(super) lengths: Vec<usize>,
    /// Their hidden states, `[texts, tokens, width]`.
    pub(super) x: Tensor,
}

impl TextBatch {
    /// The embeddings of texts, on a device.
    pub(super) fn of(
        texts: &[PaddedTokens],
        table: &Embedding,
        device: &Device,
    ) -> Result<Vec<TextBatch>, Error> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            match groups.iter_mut().find(|group| texts[group[0]].ids.len() == text.ids.len()) {
                Some(group) => group.push(place),
                None => groups.push(vec![place]),
            }
        }
        let batch = |places: Vec<usize>| {
            let ids: Vec<u32> = places.iter().flat_map(|place| &texts[*place].ids).copied().collect();
            let tokens = ids.len() / places.len();
            let x = ops::embedding(table, &ids)?.reshape(&[places.len(), tokens, table.width()])?;
            let lengths = places.iter().map(|place| texts[*place].count).collect();
            Ok(TextBatch { places, tokens, lengths, x: x.to(device)? })
        };
        groups.into_iter().map(batch).collect()
    }

    /// Puts states of these texts, `[texts, tokens, width]`, in main memory, where those of all texts are: `[tokens, width]` each.
    pub(super) fn place(&self, states: &Tensor, all: &mut [Option<Tensor>]) -> Result<(), Error> {
        let states = states.to(&Device::Cpu)?;
        let values = states.f32s()?;
        let width = values.len() / (self.places.len() * self.tokens).max(1);
        for (place, values) in self.places.iter().zip(values.chunks_exact((self.tokens * width).max(1))) {
            all[*place] = Some(Tensor::from_f32(&[self.tokens, width], values)?);
        }
        Ok(())
    }
}
