//! Reading image files.

use super::decode::{InputImage, MAX_FILE_BYTES, MAX_PIXELS, decode};
use crate::AppError;
use crate::input_file::open_image;
use std::io::BufReader;
use std::path::Path;

/// Reads an image file.
///
/// # Errors
/// Bad input: not a file, more than [`MAX_FILE_BYTES`] or [`MAX_PIXELS`], or not an image of a known format.
pub fn read(path: &Path) -> Result<InputImage, AppError> {
    let refuse = |reason: String| AppError::BadInput(format!("{}: {reason}", path.display()));
    let (file, bytes) = open_image(path)?;
    // Some decoders take the whole file into memory.
    if bytes > MAX_FILE_BYTES {
        let mib = MAX_FILE_BYTES >> 20;
        return Err(refuse(format!("has {bytes} bytes, more than the maximum of {mib} MiB")));
    }
    decode(BufReader::new(file), image::ImageFormat::from_path(path).ok(), MAX_PIXELS).map_err(refuse)
}

/// Width and height of an image file, from its header alone.
///
/// # Errors
/// Bad input, as [`read`].
pub fn size(path: &Path) -> Result<(usize, usize), AppError> {
    let refuse = |reason: String| AppError::BadInput(format!("{}: {reason}", path.display()));
    let (file, _) = open_image(path)?;
    let reader = image::ImageReader::new(BufReader::new(file)).with_guessed_format();
    let (width, height) = reader
        .map_err(|error| refuse(error.to_string()))?
        .into_dimensions()
        .map_err(|error| refuse(error.to_string()))?;
    Ok((width as usize, height as usize))
}

/// Decodes an image file that is in memory; `name` is for messages.
///
/// # Errors
/// Bad input: too many bytes or pixels, bytes that are not an image of a known format.
pub fn decode_bytes(name: &str, bytes: &[u8]) -> Result<InputImage, AppError> {
    let refuse = |reason: String| AppError::BadInput(format!("{name}: {reason}"));
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(refuse(format!("has {} bytes; the maximum is {MAX_FILE_BYTES}", bytes.len())));
    }
    let named = image::ImageFormat::from_path(name).ok();
    decode(std::io::Cursor::new(bytes), named, MAX_PIXELS).map_err(refuse)
}
