//! Text for people.

use latent_loader::Plain;

/// A number of bytes in the unit that suits it: "12 B", "3.4 kB", "39.6 MB", "4.27 GB". Units are powers of 1000.
#[must_use]
pub fn format_bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// The first characters of a text, with an ellipsis where there are more.
#[must_use]
pub fn clipped(text: &str, max_chars: usize) -> String {
    let mut clipped: String = text.chars().take(max_chars).collect();
    if text.chars().nth(max_chars).is_some() {
        clipped.push('…');
    }
    clipped
}

/// Maximum number of characters of a value of a file that [`printable`] shows.
const MAX_CHARS: usize = 200;

/// Text from a file, safe for a terminal and of at most 200 characters: what could steer a terminal, break the line or
/// change the direction of writing is escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    Plain(&clipped(text, MAX_CHARS)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_unit() {
        let cases = [(999, "999 B"), (3_400, "3.4 kB"), (39_600_000, "39.6 MB"), (4_270_000_000, "4.27 GB")];
        for (n, text) in cases {
            assert_eq!(format_bytes(n), text);
        }
    }

    #[test]
    fn texts_of_files_are_escaped_and_clipped() {
        assert_eq!(
            printable("a\u{202e}b\u{2028}c\u{feff}d\u{1b}\n"),
            "a\\u{202e}b\\u{2028}c\\u{feff}d\\u{1b}\\n"
        );
        assert_eq!(printable("猫 é"), "猫 é");
        assert_eq!(printable(&"x".repeat(201)), "x".repeat(200) + "…");
    }
}
