//! Normalising a text and splitting it into words.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// English contractions, which are words of their own.
pub(super) const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// Normalises to NFC, replaces runs of white space by one space and makes each letter lower-case.
pub(super) fn normalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.nfc() {
        if !c.is_whitespace() {
            out.extend(c.to_lowercase());
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

/// Splits a text into words: a contraction, a run of letters, one digit, or a run of other characters. White space separates
/// them and is dropped.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let contraction = CONTRACTIONS.iter().find(|ending| rest.starts_with(**ending));
        let len = match (contraction, CharClass::of(first)) {
            (Some(ending), _) => ending.len(),
            (None, CharClass::Number) => first.len_utf8(),
            (None, class) => rest.find(|c| CharClass::of(c) != class).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(len);
        rest = after;
        Some(word)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CharClass {
    Letter,
    Number,
    Space,
    Other,
}

impl CharClass {
    pub(super) fn of(c: char) -> CharClass {
        match c.general_category_group() {
            GeneralCategoryGroup::Letter => CharClass::Letter,
            GeneralCategoryGroup::Number => CharClass::Number,
            _ if c.is_whitespace() => CharClass::Space,
            _ => CharClass::Other,
        }
    }
}
