//! The vocabulary in the form of transformers' files.

use super::bpe::{END_OF_WORD, byte_letters};
use super::{MERGES, SPECIAL, Tokenizer};

impl Tokenizer {
    /// Every piece in the order of the ids, as `vocab.json` of `CLIPTokenizer` writes it: bytes as letters, `</w>` after
    /// a piece that ends a word.
    ///
    /// ```
    /// use latent_diffusion::tokenizer::Tokenizer;
    /// let vocabulary = Tokenizer::vocabulary();
    /// assert_eq!((vocabulary.len(), &*vocabulary[0], &*vocabulary[2368]), (49408, "!", "cat</w>"));
    /// ```
    #[must_use]
    pub fn vocabulary() -> Vec<String> {
        let letters = || byte_letters().map(|(_, letter)| letter.to_string());
        let mut pieces: Vec<String> = letters().collect();
        pieces.extend(letters().map(|letter| letter + END_OF_WORD));
        pieces.extend(MERGES.lines().map(|pair| pair.replace(' ', "")));
        pieces.extend(SPECIAL.iter().map(|(written, _)| (*written).to_owned()));
        pieces
    }

    /// The merges, in the form of `CLIPTokenizer`'s `merges.txt`.
    #[must_use]
    pub fn merges() -> String {
        format!("#version: 0.2\n{MERGES}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn pieces_are_in_the_order_of_their_ids() {
        let vocabulary = Tokenizer::vocabulary();
        assert_eq!(vocabulary.iter().collect::<BTreeSet<_>>().len(), 49408);
        let clip = Tokenizer::clip();
        for (text, pieces) in
            [("a photograph", &["a</w>", "photograph</w>"][..]), ("<|endoftext|>", &["<|endoftext|>"])]
        {
            let ids = clip.encode(text);
            assert_eq!(ids.iter().map(|id| &*vocabulary[*id as usize]).collect::<Vec<_>>(), pieces, "{text}");
        }
        // Every piece of a text is the text's own letters.
        let written: String =
            clip.encode("lighthouse, 4k").iter().map(|id| &*vocabulary[*id as usize]).collect();
        assert_eq!(written.replace("</w>", " "), "lighthouse , 4 k ");
        assert_eq!(Tokenizer::merges().lines().count(), 48895);
    }
}
