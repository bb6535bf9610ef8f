//! Prompts that are read from files or from standard input.

use latent_app::AppError;
use std::io::Read;
use std::path::Path;

/// Maximum bytes of a file that holds a prompt.
const MAX_BYTES: u64 = 1 << 20;
/// The name of standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// Reads a prompt from a file, or from standard input if it is `-`. Line ends at its end are not part of it.
///
/// # Errors
/// Bad input: a file that cannot be read, has more than a mebibyte, or is not UTF-8.
pub(super) fn read(path: &Path) -> Result<String, AppError> {
    let is_input = path == Path::new(STANDARD_INPUT);
    let name = if is_input { "standard input".to_owned() } else { path.display().to_string() };
    let refuse = |reason: String| AppError::BadInput(format!("{name}: {reason}"));
    let mut bytes = Vec::new();
    let read = if is_input {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        // A pipe that nobody writes to would be waited for.
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(refuse(format!("is not a file; {STANDARD_INPUT} reads standard input")));
        }
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| refuse(format!("the prompt cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refuse(format!("has more than the {} MiB that a prompt may have", MAX_BYTES >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|_| refuse("is not a text in UTF-8".to_owned()))?;
    Ok(text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']).to_owned())
}

/// What a word of the command line stands for where a prompt is expected: `-` for standard input, `@FILE` for a file that is
/// there. `None` if it is the prompt itself.
///
/// # Errors
/// As [`read`].
pub(super) fn meant_by(word: &str) -> Result<Option<String>, AppError> {
    source(word).map(read).transpose()
}

/// Whether a word stands for standard input.
pub(super) fn is_input(word: &str) -> bool {
    word == STANDARD_INPUT
}

/// Where the prompt is read that a word stands for.
fn source(word: &str) -> Option<&Path> {
    if is_input(word) {
        return Some(Path::new(word));
    }
    word.strip_prefix('@').map(Path::new).filter(|file| file.is_file())
}

/// A prompt as a word of the command line that stands for itself. White space before a prompt changes no image.
pub(crate) fn as_word(prompt: &str) -> String {
    if is_input(prompt) || prompt.starts_with('@') { format!(" {prompt}") } else { prompt.to_owned() }
}

/// What is said of a prompt that was perhaps meant as the name of a file.
pub(super) fn hint(prompt: &str) -> Option<String> {
    let file = prompt.strip_prefix('@').filter(|file| file.ends_with(".txt"))?;
    (!file.contains(char::is_whitespace))
        .then(|| format!("prompt: there is no file {file}; {prompt:?} is drawn as words"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_for_a_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.txt");
        std::fs::write(&path, "a cat\n").unwrap();
        let word = format!("@{}", path.display());
        assert_eq!(meant_by(&word).unwrap().as_deref(), Some("a cat"));
        for words in ["@home", "a cat", "", "@", " -", &as_word(&word), &as_word("-")] {
            assert_eq!(meant_by(words).unwrap(), None, "{words:?}");
        }
        assert_eq!(as_word("a-b@c"), "a-b@c");
    }

    #[test]
    fn line_ends_and_a_mark_of_the_encoding_are_not_part_of_a_prompt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.txt");
        let of = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path).map_err(|error| error.to_string())
        };
        assert_eq!(of(b"a cat\r\n"), Ok("a cat".to_owned()));
        assert_eq!(of("\u{feff}two\nlines é \n\n".as_bytes()), Ok("two\nlines é ".to_owned()));
        assert_eq!(of(b""), Ok(String::new()));
        assert!(of(b"\xff").unwrap_err().contains("UTF-8"));
        assert!(of(&vec![b'a'; MAX_BYTES as usize + 1]).unwrap_err().contains("1 MiB"));
        assert!(read(folder.path()).is_err() && read(&folder.path().join("none")).is_err());
    }
}
