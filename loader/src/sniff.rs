//! What a file is that is not a safetensors file.
//!
//! Looked at only once the file has failed to begin like one: a valid file may begin with any byte, 0x80 of a pickle
//! included, because its first eight bytes are a number.

use crate::text::Quoted;
use std::fmt;

/// Bytes from the start of a file that are looked at: a whole Git LFS pointer fits.
pub(crate) const HEAD: usize = 512;

/// A kind of file that is handed over by mistake. Printed, it says what the file is and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// The few lines that Git keeps in place of a large file.
    LfsPointer {
        /// Bytes of the real file, if the pointer has them.
        size: Option<u64>,
    },
    /// A page of a web site: an error or a login in place of the download.
    Html,
    /// A PyTorch pickle (`.ckpt`, `.pt`, `.bin` of old).
    Pickle,
    /// A zip archive, which newer PyTorch pickles are too.
    Zip,
    /// An image.
    Image {
        /// "PNG" or "JPEG".
        format: &'static str,
    },
    /// A gzip archive.
    Gzip,
    /// Another archive.
    Archive {
        /// "tar", "7z", …
        format: &'static str,
    },
    /// Something else that is known, and not a model of this kind.
    Other {
        /// What it is, with its article.
        what: &'static str,
    },
    /// A JSON text: a configuration or an index.
    Json,
    /// Zeros: space set aside for a download that never came.
    Zeros,
    /// Some other text.
    Text {
        /// Its beginning.
        beginning: String,
    },
    /// Nothing that is known here.
    Unknown,
}

/// First bytes that identify a kind.
const MAGIC: &[(&[u8], FileKind)] = &[
    (b"PK", FileKind::Zip),
    (b"\x89PNG", FileKind::Image { format: "PNG" }),
    (b"\xFF\xD8\xFF", FileKind::Image { format: "JPEG" }),
    (b"\x1F\x8B", FileKind::Gzip),
    (b"GIF8", FileKind::Image { format: "GIF" }),
    (b"\x28\xB5\x2F\xFD", FileKind::Archive { format: "zstd" }),
    (b"\xFD7zXZ\0", FileKind::Archive { format: "xz" }),
    (b"BZh", FileKind::Archive { format: "bzip2" }),
    (b"7z\xBC\xAF\x27\x1C", FileKind::Archive { format: "7z" }),
    (b"Rar!", FileKind::Archive { format: "rar" }),
    (b"\x89HDF", FileKind::Other { what: "a Keras model (HDF5)" }),
    (b"tjgg", FileKind::Other { what: "a GGML model" }),
    (b"lmgg", FileKind::Other { what: "a GGML model" }),
    (b"%PDF", FileKind::Other { what: "a PDF document" }),
    (b"\x7FELF", FileKind::Other { what: "a program" }),
    (b"MZ", FileKind::Other { what: "a program" }),
    (b"\x80", FileKind::Pickle),
];

/// Where a tar archive has its mark.
const TAR_MARK_AT: usize = 257;

impl FileKind {
    /// Guesses from the first [`HEAD`] bytes of a file.
    pub(crate) fn guess(head: &[u8]) -> FileKind {
        if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
            return kind.clone();
        }
        if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
            return FileKind::Image { format: "WebP" };
        }
        if head.get(TAR_MARK_AT..TAR_MARK_AT + 5) == Some(b"ustar") {
            return FileKind::Archive { format: "tar" };
        }
        if head.len() >= 8 && head.iter().take(16).all(|byte| *byte == 0) {
            return FileKind::Zeros;
        }
        match text_of(head).map(|text| text.trim_start_matches('\u{feff}').trim_start()) {
            Some("") | None => FileKind::Unknown,
            Some(text) => FileKind::guess_text(text),
        }
    }

    fn guess_text(text: &str) -> FileKind {
        if text.starts_with("version https://git-lfs") {
            let size = text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse().ok());
            FileKind::LfsPointer { size }
        } else if text.starts_with('<') {
            FileKind::Html
        } else if text.starts_with(['{', '[']) {
            FileKind::Json
        } else {
            let line = text.lines().next().unwrap_or_default();
            FileKind::Text { beginning: line.chars().take(60).collect() }
        }
    }
}

/// The head as text, if it is text; a character cut at its end does not count against it.
fn text_of(head: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    text.chars().all(|c| !c.is_control() || c.is_ascii_whitespace()).then_some(text)
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LfsPointer { size } => {
                f.write_str("is a Git LFS pointer and not the model itself; run `git lfs pull` or download the file")?;
                size.map_or(Ok(()), |size| write!(f, " ({size} bytes)"))
            }
            Self::Html => f.write_str(
                "is a web page and not a model; the download failed or needs a login, download the file again",
            ),
            Self::Pickle => f.write_str(
                "is a PyTorch pickle, of which only the beginning is here; give the whole file, or a .safetensors file",
            ),
            Self::Zip => f.write_str(
                "is a zip archive, most likely a PyTorch pickle (.ckpt, .pt), of which only the beginning is here; give the \
                 whole file, or a .safetensors file",
            ),
            Self::Image { format } => {
                write!(f, "is an image ({format}) and not a model; give a .safetensors file")
            }
            Self::Gzip => f.write_str("is a gzip archive; unpack it and give the .safetensors file inside"),
            Self::Archive { format } => {
                write!(f, "is a {format} archive; unpack it and give the .safetensors file inside")
            }
            Self::Other { what } => write!(f, "is {what} and not a checkpoint; give a .safetensors file"),
            Self::Json => f.write_str(
                "is a JSON text and not a model; give the .safetensors file, or the folder of a diffusers model",
            ),
            Self::Zeros => f.write_str("begins with zeros: a download that was not finished; download it again"),
            Self::Text { beginning } => {
                write!(f, "is a text that begins with {} and not a model; download the file again", Quoted(beginning))
            }
            Self::Unknown => {
                f.write_str("is not a safetensors file, nor another kind known here; download it again or check its name")
            }
        }
    }
}
