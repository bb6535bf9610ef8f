//! Texts of image files.

/// Maximum size of a text in bytes, also after it is decompressed: workflows with images in them have some megabytes.
pub(super) const MAX_TEXT_BYTES: usize = 8 << 20;

/// A text of an image file: a chunk of a PNG, a tag of EXIF, XMP or a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetadataText {
    /// What the file calls it, such as `parameters` or `UserComment`.
    pub keyword: String,
    /// The text.
    pub text: String,
}

impl MetadataText {
    /// A text and its keyword.
    #[must_use]
    pub fn new(keyword: &str, text: String) -> MetadataText {
        MetadataText { keyword: keyword.to_owned(), text }
    }
}

/// The texts that are written into an image file, by keyword: the webui's `parameters`, and this program's own `latent`.
pub type OutputTexts = [(&'static str, String); 2];

/// Refuses a text that is too long, before it is read.
pub(super) fn text_length(length: u64, what: &str) -> Result<usize, String> {
    match usize::try_from(length) {
        Ok(length) if length <= MAX_TEXT_BYTES => Ok(length),
        _ => {
            Err(format!("has a text of {length} bytes ({what}); the maximum is {} MiB", MAX_TEXT_BYTES >> 20))
        }
    }
}

/// UTF-8, with a character of its own for what is not. That has three bytes, so the length is checked before.
pub(super) fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).or_else(|error| {
        let bytes = error.into_bytes();
        let length = bytes.utf8_chunks().map(|chunk| chunk.valid().len() + 3).sum::<usize>();
        text_length(length as u64, "as UTF-8")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    })
}

/// Latin-1, as PNG prescribes; UTF-8 where the bytes are valid UTF-8, which some programs write all the same.
pub(super) fn latin1(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).or_else(|error| {
        let bytes = error.into_bytes();
        let length = bytes.len() + bytes.iter().filter(|byte| !byte.is_ascii()).count();
        text_length(length as u64, "as UTF-8")?;
        Ok(bytes.into_iter().map(char::from).collect())
    })
}
