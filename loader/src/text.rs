//! Text from a file, made safe to print.

use std::fmt::{self, Write as _};

/// Characters of a name that an error message shows: enough for any real tensor name.
const MAX_NAME: usize = 160;

/// Text whose control characters, invisible ones, line breaks and changes of writing direction are escaped, so that a hostile name
/// can neither control a terminal nor fake a line of its own.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a>(pub &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| write_char(f, c))
    }
}

/// Like [`Plain`], in double quotes and cut where it is too long for a line.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        self.0.chars().take(MAX_NAME).try_for_each(|c| write_char(f, c))?;
        f.write_str(if self.0.chars().nth(MAX_NAME).is_some() { "…\"" } else { "\"" })
    }
}

/// Like [`Plain`], without its middle where it is too long for a line: a parser's message may quote megabytes of the
/// file, and says at its end what was expected and where.
pub(crate) struct Clipped<'a>(pub(crate) &'a str);

impl fmt::Display for Clipped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head_end = self.0.char_indices().nth(MAX_NAME).map(|(at, _)| at);
        let tail_start = self.0.char_indices().rev().nth(MAX_NAME - 1).map(|(at, _)| at);
        match (head_end, tail_start) {
            (Some(end), Some(start)) if end < start => {
                write!(f, "{}…{}", Plain(&self.0[..end]), Plain(&self.0[start..]))
            }
            _ => write!(f, "{}", Plain(self.0)),
        }
    }
}

fn write_char(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    if is_control(c) { write!(f, "{}", c.escape_default()) } else { f.write_char(c) }
}

/// Whether a character changes how the text around it is shown.
fn is_control(c: char) -> bool {
    let direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // Joiners are parts of letters and of emoji.
    let invisible =
        matches!(c, '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || direction || invisible || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(Plain("a\u{1b}[2Jb\nc").to_string(), "a\\u{1b}[2Jb\\nc");
        assert_eq!(Quoted("a\u{202e}b").to_string(), "\"a\\u{202e}b\"");
        assert_eq!(Plain("C:\\models\\é.safetensors").to_string(), "C:\\models\\é.safetensors");
    }

    #[test]
    fn long_names_are_cut() {
        let shown = Quoted(&"é".repeat(MAX_NAME + 1)).to_string();
        assert_eq!(shown.chars().count(), MAX_NAME + 3);
        assert!(shown.ends_with("é…\""));
        assert!(Quoted(&"é".repeat(MAX_NAME)).to_string().ends_with("é\""));
    }

    #[test]
    fn long_messages_lose_their_middle() {
        let short = format!("é{}\n", "x".repeat(2 * MAX_NAME - 2));
        assert_eq!(Clipped(&short).to_string(), Plain(&short).to_string());
        let long = format!("é{}\n", "x".repeat(2 * MAX_NAME - 1));
        let half = "x".repeat(MAX_NAME - 1);
        assert_eq!(Clipped(&long).to_string(), format!("é{half}…{half}\\n"));
    }
}
