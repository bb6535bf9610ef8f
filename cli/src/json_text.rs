//! JSON as it is printed: what would steer a terminal or hide in a line is escaped, as in all other output.

use latent_loader::Plain;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::{Serializer, Value};
use std::io::{Result, Write};

/// A value on lines of its own. Characters that are hidden are escaped by their code (`\u202e`), which every reader of JSON gives back.
pub(crate) fn lines(value: &Value) -> String {
    format!("{}\n", text(value))
}

fn text(value: &Value) -> String {
    let mut bytes = Vec::new();
    // Neither a vector nor a value that is JSON already can fail.
    let _ = write(&mut bytes, value);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Writes a value piece by piece, with the same escapes.
pub(crate) fn write(out: impl Write, value: &impl Serialize) -> Result<()> {
    let mut serializer = Serializer::with_formatter(out, EscapingFormatter(PrettyFormatter::new()));
    Ok(value.serialize(&mut serializer)?)
}

/// Indents, and escapes what is hidden.
struct EscapingFormatter(PrettyFormatter<'static>);

impl Formatter for EscapingFormatter {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> Result<()> {
        let mut rest = fragment;
        while let Some((at, letter)) = rest.char_indices().find(|(_, letter)| is_hidden(*letter)) {
            out.write_all(&rest.as_bytes()[..at])?;
            for unit in letter.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &rest[at + letter.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.0.end_object_value(out)
    }
}

/// Whether a character is none that a person sees. serde_json has escaped those below a space.
fn is_hidden(letter: char) -> bool {
    let is_plain = letter.is_ascii() && letter != '\u{7f}';
    !is_plain && Plain(letter.encode_utf8(&mut [0; 4])).to_string().starts_with('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_escaped_and_read_back() {
        let value = serde_json::json!({ "a\u{202e}": "\u{9b}é猫\u{7f}\u{2028}\u{e0041}\n\\" });
        let text = lines(&value);
        assert!(
            text.contains(r"a\u202e") && text.contains(r"\u009bé猫\u007f\u2028\udb40\udc41\n\\"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        let plain = serde_json::json!({ "a": [1, {}, []], "b": { "c": null } });
        assert_eq!(lines(&plain), format!("{plain:#}\n"));
    }
}
