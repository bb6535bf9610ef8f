//! What happens to a text before its words are encoded.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// English endings that are words of their own.
const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// Composes the characters (NFC), joins white space to one space and makes letters lower-case, each by itself.
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

/// Cuts a text into words: a contraction, a run of letters, one digit, or a run of other characters. White space lies
/// between them and is left out.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let contraction = CONTRACTIONS.iter().find(|ending| rest.starts_with(**ending));
        let len = match (contraction, Class::of(first)) {
            (Some(ending), _) => ending.len(),
            (None, Class::Number) => first.len_utf8(),
            (None, class) => rest.find(|c| Class::of(c) != class).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(len);
        rest = after;
        Some(word)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
}

impl Class {
    fn of(c: char) -> Class {
        match c.general_category_group() {
            GeneralCategoryGroup::Letter => Class::Letter,
            GeneralCategoryGroup::Number => Class::Number,
            _ if c.is_whitespace() => Class::Space,
            _ => Class::Other,
        }
    }
}
