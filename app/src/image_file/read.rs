//! Reading image files.

use super::decode::{Given, MAX_FILE_BYTES, MAX_PIXELS, decode};
use crate::AppError;
use std::io::BufReader;
use std::path::Path;

/// Reads an image.
pub fn read(path: &Path) -> Result<Given, AppError> {
    let refuse = |reason: String| AppError::BadInput(format!("{}: {reason}", path.display()));
    let kind = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => refuse("no such file".into()),
        _ => refuse(error.to_string()),
    })?;
    if !kind.is_file() {
        return Err(refuse("is no file; an image is expected".into()));
    }
    // Some decoders take the whole file into memory.
    if kind.len() > MAX_FILE_BYTES {
        let (bytes, mib) = (kind.len(), MAX_FILE_BYTES >> 20);
        return Err(refuse(format!("has {bytes} bytes, more than the {mib} MiB of any image that is read")));
    }
    let file = std::fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
    decode(BufReader::new(file), image::ImageFormat::from_path(path).ok(), MAX_PIXELS).map_err(refuse)
}

/// Decodes an image file that is in memory; `name` is for messages.
///
/// # Errors
/// Bad input: too many bytes or pixels, bytes that are not an image of a known format.
pub fn decode_bytes(name: &str, bytes: &[u8]) -> Result<Given, AppError> {
    let refuse = |reason: String| AppError::BadInput(format!("{name}: {reason}"));
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(refuse(format!("has {} bytes; the maximum is {MAX_FILE_BYTES}", bytes.len())));
    }
    let named = image::ImageFormat::from_path(name).ok();
    decode(std::io::Cursor::new(bytes), named, MAX_PIXELS).map_err(refuse)
}
