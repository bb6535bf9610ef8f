//! Texts of image files.

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
