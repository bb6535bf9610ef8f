//! Names of learned embeddings among the tokens of a prompt.

use crate::prompt::{Segment, parse};
use crate::tokenizer::Tokenizer;
use std::collections::HashMap;

/// The prefix by which ComfyUI marks the name of a learned embedding.
const MARK: &str = "embedding:";

/// Names as sequences of tokens. So upper and lower case are the same, and a name is found only as whole words.
#[derive(Clone, Debug, Default)]
pub(super) struct LearnedNames {
    /// By their first token: sequences, the longest first, and the index of what they name.
    by_first: HashMap<u32, Vec<(Vec<u32>, usize)>>,
}

impl LearnedNames {
    /// Reserves a name for the embedding `index`. Returns whether it was free.
    pub(super) fn add(&mut self, name: &str, index: usize) -> bool {
        let mut is_free = true;
        for written in [name.to_owned(), format!("{MARK}{name}"), format!("{MARK}{name}.safetensors")] {
            let ids = Tokenizer::clip().encode(&written);
            let Some(first) = ids.first() else { continue };
            let sequences = self.by_first.entry(*first).or_default();
            if let Some((_, before)) = sequences.iter().find(|(known, _)| *known == ids) {
                is_free &= *before == index;
                continue;
            }
            let at = sequences.partition_point(|(known, _)| known.len() >= ids.len());
            sequences.insert(at, (ids, index));
        }
        is_free
    }

    /// The longest name that tokens begin with: its length in tokens, and the index of its embedding.
    pub(super) fn first(&self, ids: &[u32]) -> Option<(usize, usize)> {
        let sequences = self.by_first.get(ids.first()?)?;
        let (known, index) = sequences.iter().find(|(known, _)| ids.starts_with(known))?;
        Some((known.len(), *index))
    }
}

/// Which of `names` occur in prompts, by their indices.
///
/// ```
/// let names = ["bad-hands", "bad-hands-5", "cat"];
/// assert_eq!(latent_diffusion::embeddings::named(&["(Bad-Hands-5:1.2), catalogue"], &names), [1]);
/// assert_eq!(latent_diffusion::embeddings::named(&["a dog, embedding:cat"], &names), [2]);
/// ```
#[must_use]
pub fn named(prompts: &[&str], names: &[&str]) -> Vec<usize> {
    let mut known = LearnedNames::default();
    for (index, name) in names.iter().enumerate() {
        known.add(name, index);
    }
    let mut found = vec![false; names.len()];
    for segment in prompts.iter().flat_map(|prompt| parse(prompt)) {
        let Segment::Text { text, .. } = segment else { continue };
        let ids = Tokenizer::clip().encode(&text);
        let mut rest = &ids[..];
        while !rest.is_empty() {
            let (len, index) = known.first(rest).map_or((1, None), |(len, index)| (len, Some(index)));
            if let Some(index) = index {
                found[index] = true;
            }
            rest = &rest[len..];
        }
    }
    (0..names.len()).filter(|index| found[*index]).collect()
}
