//! Opening the files that a person names.

use crate::AppError;
use std::fs::File;
use std::path::Path;

/// Opens an image file, and says how many bytes it has.
///
/// # Errors
/// Bad input: nothing of that name, something else than a file, a file that cannot be read.
pub(crate) fn open_image(path: &Path) -> Result<(File, u64), AppError> {
    let refuse = |reason: String| AppError::BadInput(format!("{}: {reason}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => refuse("no such file".into()),
        _ => refuse(error.to_string()),
    })?;
    if !metadata.is_file() {
        return Err(refuse("is not a file; an image is expected".into()));
    }
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    Ok((file, metadata.len()))
}
