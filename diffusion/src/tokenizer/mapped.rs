//! A changed text that remembers where each of its bytes comes from.

use std::ops::Range;
use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc, is_nfc_quick};

/// A text made of another one.
#[derive(Debug, Default)]
pub(super) struct MappedText {
    text: String,
    /// For each byte, the bytes of the original that it stands for.
    sources: Vec<Range<usize>>,
}

impl MappedText {
    /// The Unicode normal form NFC of a part of a text.
    pub(super) fn nfc(text: &str, part: Range<usize>) -> MappedText {
        let mut out = MappedText::default();
        let from = &text[part.clone()];
        if is_nfc(from) {
            out.keep(from, part.start);
            return out;
        }
        // Pieces that composition does not cross.
        let mut start = 0;
        let ends = from.char_indices().skip(1).filter(|(_, c)| begins_piece(*c)).map(|(at, _)| at);
        for end in ends.chain([from.len()]) {
            let (piece, source) = (&from[start..end], part.start + start..part.start + end);
            if is_nfc(piece) {
                out.keep(piece, source.start);
            } else {
                piece.nfc().for_each(|c| out.replace(c.encode_utf8(&mut [0; 4]), source.clone()));
            }
            start = end;
        }
        out
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Appends bytes of the original, which begin at `start` there.
    pub(super) fn keep(&mut self, text: &str, start: usize) {
        self.text.push_str(text);
        self.sources.extend((start..start + text.len()).map(|at| at..at + 1));
    }

    /// Appends what replaces bytes of the original.
    pub(super) fn replace(&mut self, text: &str, source: Range<usize>) {
        self.text.push_str(text);
        self.sources.extend(std::iter::repeat_n(source, text.len()));
    }

    /// The bytes of the original that a part of the text stands for.
    pub(super) fn source(&self, part: Range<usize>) -> Range<usize> {
        match &self.sources[part] {
            [] => 0..0,
            [first, .., last] => first.start..last.end.max(first.start),
            [only] => only.clone(),
        }
    }

    /// Removes white space at the end.
    pub(super) fn trim_end(&mut self) {
        let len = self.text.trim_end().len();
        self.text.truncate(len);
        self.sources.truncate(len);
    }
}

/// Whether a character neither combines with one before it nor is moved in front of one.
fn begins_piece(c: char) -> bool {
    canonical_combining_class(c) == 0 && is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_make_the_normal_form(text in "[a-eàé\u{300}-\u{330}\u{1100}-\u{1112}\u{1161}-\u{1175}\u{11a8}\u{ac00}\u{2126}\u{2f801}\u{0958} ]{0,20}|\\PC{0,20}") {
            let mapped = MappedText::nfc(&text, 0..text.len());
            let whole: String = text.nfc().collect();
            prop_assert_eq!(mapped.text(), whole);
            prop_assert_eq!(mapped.sources.len(), mapped.text().len());
            prop_assert!(mapped.sources.windows(2).all(|pair| pair[0].start <= pair[1].start));
        }
    }

    #[test]
    fn composed_characters_stand_for_all_that_they_are_made_of() {
        let text = "xae\u{301}b";
        let mapped = MappedText::nfc(text, 1..text.len());
        assert_eq!(mapped.text(), "aéb");
        assert_eq!([0..1, 1..3, 3..4, 0..4].map(|part| mapped.source(part)), [1..2, 2..5, 5..6, 1..6]);
        assert_eq!(mapped.source(2..2), 0..0);
    }
}
