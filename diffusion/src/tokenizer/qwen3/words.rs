//! Splitting a text into words, as the pattern of Qwen2's tokenizer does:
//!
//! ```text
//! (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N} | ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
//! ```

use super::super::words::{CONTRACTIONS, CharClass};

const LINE_ENDS: [char; 2] = ['\r', '\n'];

/// Splits a text into words, which together are the text.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (word, after) = rest.split_at(word_len(rest, first));
        rest = after;
        Some(word)
    })
}

/// Bytes of the first word of a text that begins with `first`.
fn word_len(text: &str, first: char) -> usize {
    let class = CharClass::of(first);
    let after = &text[first.len_utf8()..];
    if let Some(len) = contraction(text) {
        return len;
    }
    if class == CharClass::Letter {
        return run(text, CharClass::Letter);
    }
    if class != CharClass::Number && !LINE_ENDS.contains(&first) {
        let letters = run(after, CharClass::Letter);
        if letters > 0 {
            return first.len_utf8() + letters;
        }
    }
    match class {
        CharClass::Number => first.len_utf8(),
        CharClass::Space => {
            let others = if first == ' ' { run(after, CharClass::Other) } else { 0 };
            if others > 0 { with_line_ends(text, 1 + others) } else { white_space(text) }
        }
        _ => with_line_ends(text, run(text, CharClass::Other)),
    }
}

/// Bytes of the English contraction that a text begins with, in either case.
fn contraction(text: &str) -> Option<usize> {
    let ending = text.strip_prefix('\'')?;
    // The long s is a small letter of S, too.
    if ending.starts_with('\u{17f}') {
        return Some(1 + '\u{17f}'.len_utf8());
    }
    let mut known = CONTRACTIONS.iter();
    let short =
        known.find(|short| text.get(..short.len()).is_some_and(|start| start.eq_ignore_ascii_case(short)));
    short.map(|short| short.len())
}

/// Bytes of the characters of a class that a text begins with.
fn run(text: &str, class: CharClass) -> usize {
    text.find(|c| CharClass::of(c) != class).unwrap_or(text.len())
}

/// A length, and that of the line ends that follow.
fn with_line_ends(text: &str, len: usize) -> usize {
    len + text[len..].bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// Bytes of the first word of a text that begins with white space: up to the last line end of it; without one, all but the last
/// character, which goes with the next word.
fn white_space(text: &str) -> usize {
    let space = &text[..run(text, CharClass::Space)];
    if let Some(end) = space.rfind(LINE_ENDS) {
        return end + 1;
    }
    match space.char_indices().next_back() {
        Some((last, _)) if space.len() < text.len() && last > 0 => last,
        _ => space.len(),
    }
}
