//! Image files, with texts that say how the images were made.

mod encode;

pub use encode::{DEFAULT_QUALITY, ImageFileFormat};

use crate::AppError;
use latent_diffusion::Image;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Maximum length in bytes of the part of a prompt that is in a file name.
const MAX_SLUG: usize = 60;

/// Where images are written.
#[derive(Clone, Debug)]
pub struct Output {
    /// The files' name, with `%03d` or `{seed}` where it has them.
    pattern: String,
    /// Quality of a JPEG, 1 to 100.
    quality: u8,
}

/// What became of an image that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct WrittenImage {
    /// Whether the file has all the texts. A JPEG has room for 64 KiB of them.
    pub has_all_texts: bool,
}

impl WrittenImage {
    /// One line for a person, if texts were left out.
    #[must_use]
    pub fn warning(self) -> Option<&'static str> {
        (!self.has_all_texts)
            .then_some("the prompt is too long for the metadata of a JPEG; .png and .webp have room for it")
    }
}

impl Output {
    /// `pattern` as the user gave it, or a name made from the prompt. Checks that the folder exists and files can be
    /// written to it, so that this fails before an image is drawn, not after.
    ///
    /// # Errors
    /// Bad input: a name of another image format, a folder that does not exist or cannot be written to, something else
    /// than a file of that name.
    pub fn new(pattern: Option<&Path>, prompt: &str) -> Result<Output, AppError> {
        let pattern = match pattern {
            Some(path) => path
                .to_str()
                .ok_or_else(|| AppError::BadInput(format!("{}: the name is not UTF-8", path.display())))?
                .to_owned(),
            None => format!("{}-{{seed}}.png", slug(prompt)),
        };
        let output = Output { pattern, quality: DEFAULT_QUALITY };
        let path = output.path(0, 0);
        ImageFileFormat::of(&path, DEFAULT_QUALITY)
            .map_err(|reason| AppError::BadInput(format!("{}: {reason}", path.display())))?;
        if path.is_dir() || output.pattern.ends_with('/') || output.pattern.is_empty() {
            return Err(AppError::BadInput(format!("{}: is a folder; name a file in it", path.display())));
        }
        // A name that is too long, for instance.
        if let Err(error) = path.symlink_metadata()
            && error.kind() != std::io::ErrorKind::NotFound
        {
            let line = format!("{}: cannot be written: {error}; name another file", path.display());
            return Err(AppError::BadInput(line));
        }
        // The image would take its name.
        if path.exists() && !path.is_file() {
            return Err(AppError::BadInput(format!(
                "{}: is a device, a pipe or a socket; name a file",
                path.display()
            )));
        }
        let folder = folder(&path);
        if !folder.is_dir() {
            let line = format!("{}: the folder does not exist; make it first", folder.display());
            return Err(AppError::BadInput(line));
        }
        NamedTempFile::new_in(folder).map_err(|error| {
            AppError::BadInput(format!("{}: cannot write there: {error}", folder.display()))
        })?;
        Ok(output)
    }

    /// The same, with JPEGs of this quality, 1 to 100.
    #[must_use]
    pub fn with_quality(self, quality: u8) -> Output {
        Output { quality, ..self }
    }

    /// The file of image `index`, counted from 0, with `%03d` and `{seed}` filled in. Without either, images after the
    /// first get `_2`, `_3` and so on.
    #[must_use]
    pub fn path(&self, index: usize, seed: u64) -> PathBuf {
        let with_seed = self.pattern.replace("{seed}", &seed.to_string());
        let (filled, counted) = fill_counter(&with_seed, index);
        if index == 0 || counted || self.pattern.contains("{seed}") {
            return PathBuf::from(filled);
        }
        let path = Path::new(&filled);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let extension = path.extension().map_or(String::new(), |e| format!(".{}", e.to_string_lossy()));
        path.with_file_name(format!("{stem}_{}{extension}", index + 1))
    }

    /// Writes an image whole or not at all: a temporary file beside it is renamed when it is complete. `texts` are pairs
    /// of a keyword and a text.
    ///
    /// # Errors
    /// A run-time failure, if the file cannot be written.
    pub fn write(
        &self,
        path: &Path,
        image: &Image,
        texts: &[(&str, String)],
    ) -> Result<WrittenImage, AppError> {
        let failed =
            |error: &dyn std::fmt::Display| AppError::RunTime(format!("{}: {error}", path.display()));
        let mut file = NamedTempFile::new_in(folder(path)).map_err(|error| failed(&error))?;
        let format = ImageFileFormat::of(path, self.quality).map_err(|error| failed(&error))?;
        let mut buffered = std::io::BufWriter::new(&mut file);
        let has_all_texts =
            encode::encode(&mut buffered, format, image, texts).map_err(|error| failed(&error))?;
        std::io::Write::flush(&mut buffered).map_err(|error| failed(&error))?;
        drop(buffered);
        file.as_file().sync_all().map_err(|error| failed(&error))?;
        make_readable(file.as_file());
        file.persist(path).map_err(|error| failed(&error.error))?;
        Ok(WrittenImage { has_all_texts })
    }
}

/// An image as the bytes of a PNG without texts.
///
/// # Errors
/// A run-time failure: an image without pixels, or one of more than 4 billion pixels along a side.
pub fn png(image: &Image) -> Result<Vec<u8>, AppError> {
    let mut bytes = Vec::new();
    let encoded = encode::encode(&mut bytes, ImageFileFormat::Png, image, &[]);
    encoded.map_err(|error| AppError::RunTime(format!("a PNG: {error}")))?;
    Ok(bytes)
}

/// An image as the bytes of a JPEG without texts, of a quality of 1 to 100: for previews.
///
/// # Errors
/// A run-time failure: an image without pixels, or one of more than 65535 pixels along a side.
pub fn jpeg(image: &Image, quality: u8) -> Result<Vec<u8>, AppError> {
    let mut bytes = Vec::new();
    let encoded = encode::encode(&mut bytes, ImageFileFormat::Jpeg(quality), image, &[]);
    encoded.map_err(|error| AppError::RunTime(format!("a JPEG: {error}")))?;
    Ok(bytes)
}

/// Temporary files are private; an image is not.
fn make_readable(file: &std::fs::File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A file system without permissions is not a reason to lose the image.
        let _ = file.set_permissions(std::fs::Permissions::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = file;
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Fills in the first `%d` or `%03d`; whether there was one.
fn fill_counter(pattern: &str, index: usize) -> (String, bool) {
    for (at, _) in pattern.match_indices('%') {
        let rest = &pattern[at + 1..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if rest[digits..].starts_with('d') {
            let width = rest[..digits].parse::<usize>().unwrap_or(0).min(20);
            let number =
                if rest.starts_with('0') { format!("{index:0width$}") } else { format!("{index:width$}") };
            return (format!("{}{number}{}", &pattern[..at], &rest[digits + 1..]), true);
        }
    }
    (pattern.to_owned(), false)
}

/// A prompt as a file name: letters and digits, words joined by hyphens.
fn slug(prompt: &str) -> String {
    let words: Vec<String> = prompt
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let mut slug = String::new();
    for word in words {
        if slug.len() + word.len() > MAX_SLUG {
            break;
        }
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(&word);
    }
    if slug.is_empty() { "image".to_owned() } else { slug }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(pattern: &str) -> Vec<String> {
        let output = Output { pattern: pattern.to_owned(), quality: DEFAULT_QUALITY };
        (0..2).map(|i| output.path(i, 40 + i as u64).display().to_string()).collect()
    }

    #[test]
    fn names_of_images() {
        assert_eq!(paths("a.png"), ["a.png", "a_2.png"]);
        assert_eq!(paths("x/%03d.png"), ["x/000.png", "x/001.png"]);
        assert_eq!(paths("%d-{seed}.png"), ["0-40.png", "1-41.png"]);
        assert_eq!(paths("{seed}.png"), ["40.png", "41.png"]);
        assert_eq!(paths("100%.png"), ["100%.png", "100%_2.png"]);
    }

    #[test]
    fn slugs_are_safe_file_names() {
        assert_eq!(slug("A red apple, (shiny:1.3)!"), "a-red-apple-shiny-1-3");
        assert_eq!(slug("../../etc/passwd\0"), "etc-passwd");
        assert_eq!(slug(" ??? "), "image");
        assert!(slug(&"word ".repeat(100)).len() <= MAX_SLUG + 1);
    }
}
