//! The normalisation of T5's texts.
//!
//! SentencePiece's `nmt_nfkc` is NFKC with control characters removed and all kinds of spaces replaced. The fast tokenizer applies
//! it to a grapheme as a whole where that is short: then to the first of its characters that have a replacement, of which the rest
//! is part. Models were trained with one and are used with the other; this is the latter, byte for byte.

use super::super::mapped::MappedText;
use super::super::unpack::unpack_text;
use std::collections::HashMap;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// What stands for a space, and for the beginning of a text.
pub(super) const SPACE: char = '\u{2581}';

/// Graphemes of fewer bytes are replaced as a whole.
const MAX_GRAPHEME: usize = 6;

/// Replacements: each source, a zero, its replacement, a zero.
const RULES: &[u8] = include_bytes!("../vocabulary/t5_rules.gz");

#[derive(Debug)]
pub(super) struct Normalizer {
    rules: HashMap<Box<str>, Box<str>>,
}

impl Normalizer {
    pub(super) fn built_in() -> Normalizer {
        let text = unpack_text(RULES);
        let mut texts = text.split('\0').map(Box::from);
        let rules = std::iter::from_fn(|| Some((texts.next()?, texts.next()?)));
        Normalizer { rules: rules.collect() }
    }

    /// A part of a text, normalised, with [`SPACE`] in front and in place of spaces; empty if nothing is left.
    pub(super) fn normalize(&self, text: &str, part: Range<usize>) -> MappedText {
        let mut normal = MappedText::default();
        for (at, grapheme) in text[part.clone()].grapheme_indices(true) {
            self.replace(grapheme, part.start + at, &mut normal);
        }
        normal.trim_end();
        spaced(&normal, part.start)
    }

    /// Appends a grapheme that begins at `start`.
    fn replace(&self, grapheme: &str, start: usize, out: &mut MappedText) {
        // No printable character of ASCII has a replacement.
        if matches!(grapheme.as_bytes(), [b' '..=b'~']) {
            return out.keep(grapheme, start);
        }
        if grapheme.len() < MAX_GRAPHEME {
            let ends = grapheme.char_indices().skip(1).map(|(at, _)| at).chain([grapheme.len()]);
            if let Some(rule) = ends.filter_map(|end| self.rules.get(&grapheme[..end])).next() {
                return out.replace(rule, start..start + grapheme.len());
            }
        }
        for (at, character) in grapheme.char_indices() {
            let (from, to) = (start + at, start + at + character.len_utf8());
            match self.rules.get(&grapheme[at..at + character.len_utf8()]) {
                Some(rule) => out.replace(rule, from..to),
                None => out.keep(&grapheme[at..at + character.len_utf8()], from),
            }
        }
    }
}

/// A text with [`SPACE`] in place of each run of spaces, and one in front where none is.
fn spaced(normal: &MappedText, start: usize) -> MappedText {
    let (mut out, text) = (MappedText::default(), normal.text());
    let space = SPACE.encode_utf8(&mut [0; 3]).to_owned();
    if !text.is_empty() && !text.starts_with([' ', SPACE]) {
        let before = normal.source(0..1).start.max(start);
        out.replace(&space, before..before);
    }
    let mut at = 0;
    while let Some(character) = text[at..].chars().next() {
        let len = match character {
            ' ' => text[at..].bytes().take_while(|byte| *byte == b' ').count(),
            _ => character.len_utf8(),
        };
        let source = normal.source(at..at + len);
        match character {
            ' ' => out.replace(&space, source),
            _ => out.replace(&text[at..at + len], source),
        }
        at += len;
    }
    out
}

/// The words of a normalised text: each begins with [`SPACE`].
pub(super) fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let next = rest.char_indices().skip(1).find(|(_, c)| *c == SPACE);
        let word = start..next.map_or(text.len(), |(at, _)| start + at);
        start = word.end;
        Some(word)
    })
}
