//! Images that a job is given.

use crate::AppError;
use crate::image_file::{self, InputImage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An image file: a path, or the file's bytes. In JSON a string, or an object of `name` and `base64`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ImageSource {
    /// A file.
    Path(PathBuf),
    /// The contents of a file.
    Inline(InlineImage),
}

/// The contents of an image file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InlineImage {
    /// The name for messages and metadata.
    pub name: String,
    /// The bytes of the file.
    #[serde(rename = "base64", serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub bytes: Arc<[u8]>,
}

impl std::fmt::Debug for InlineImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InlineImage({:?}, {} bytes)", self.name, self.bytes.len())
    }
}

fn to_base64<S: Serializer>(bytes: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map(Arc::from).map_err(serde::de::Error::custom)
}

/// No image yet.
impl Default for ImageSource {
    fn default() -> ImageSource {
        ImageSource::Path(PathBuf::new())
    }
}

impl From<PathBuf> for ImageSource {
    fn from(path: PathBuf) -> ImageSource {
        ImageSource::Path(path)
    }
}

impl From<&str> for ImageSource {
    fn from(path: &str) -> ImageSource {
        ImageSource::Path(path.into())
    }
}

impl ImageSource {
    /// An image of bytes in memory.
    #[must_use]
    pub fn inline(name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> ImageSource {
        ImageSource::Inline(InlineImage { name: name.into(), bytes: bytes.into() })
    }

    /// The path, or the name of what has none.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            ImageSource::Path(path) => path,
            ImageSource::Inline(image) => Path::new(&image.name),
        }
    }

    /// Whether an image was given.
    pub(crate) fn is_given(&self) -> bool {
        *self != ImageSource::default()
    }

    /// Decodes the image.
    pub(crate) fn read(&self) -> Result<InputImage, AppError> {
        match self {
            ImageSource::Path(path) => image_file::read(path),
            ImageSource::Inline(image) => image_file::decode_bytes(&image.name, &image.bytes),
        }
    }
}
