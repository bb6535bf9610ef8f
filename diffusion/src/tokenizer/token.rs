//! Tokens that know the part of the text that they are.

use std::ops::Range;

/// A token of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id in the vocabulary.
    pub id: u32,
    /// The bytes of the text that it is made of. Those of tokens of parts of a character may begin or end within it; tokens of a
    /// character that was replaced by several have all of its bytes; a token of a space that the text does not have, none.
    pub bytes: Range<usize>,
}

/// Token ids of a text, filled up to a length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaddedTokens {
    /// The ids, then padding.
    pub ids: Vec<u32>,
    /// How many of them are not padding.
    pub count: usize,
}

impl PaddedTokens {
    /// The ids, filled up to `length`, which they must not exceed.
    pub(super) fn new(mut ids: Vec<u32>, length: usize, padding: u32) -> PaddedTokens {
        let count = ids.len();
        ids.resize(length, padding);
        PaddedTokens { ids, count }
    }
}

/// A part of a text between special tokens, or one of them.
pub(super) enum Part {
    Text(Range<usize>),
    Special(Token),
}

/// Cuts a text at its special tokens. `special` gives the length and id of the one that a text, which begins with `<`, begins
/// with.
pub(super) fn parts<'a>(
    text: &'a str,
    special: impl Fn(&str) -> Option<(usize, u32)> + 'a,
) -> impl Iterator<Item = Part> + 'a {
    let mut start = 0;
    let mut next = None;
    std::iter::from_fn(move || {
        if let Some(token) = next.take() {
            return Some(Part::Special(token));
        }
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let found = rest.match_indices('<').find_map(|(at, _)| Some((at, special(&rest[at..])?)));
        let Some((at, (len, id))) = found else {
            let part = start..text.len();
            start = text.len();
            return Some(Part::Text(part));
        };
        let (before, bytes) = (start..start + at, start + at..start + at + len);
        start = bytes.end;
        let token = Token { id, bytes };
        if before.is_empty() {
            return Some(Part::Special(token));
        }
        next = Some(token);
        Some(Part::Text(before))
    })
}
