//! Image files, with texts that say how the images were made.

mod encode;

pub use encode::{DEFAULT_QUALITY, ImageFileFormat};

use crate::AppError;
use crate::atomic_output::{AtomicFile, after_the_work, numbered, prepare_folder, unused_path};
use crate::image_file::{BACKGROUND, InputImage};
use latent_diffusion::Image;
use std::collections::HashSet;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum length in bytes of the part of a prompt that is in a file name.
const MAX_SLUG: usize = 60;

/// Where images are written.
#[derive(Clone, Debug)]
pub struct Output {
    target: OutputTarget,
    /// Quality of a JPEG, 1 to 100.
    quality: u8,
}

#[derive(Clone)]
enum OutputTarget {
    Files(FileNames),
    /// One PNG, and what the writer is called.
    Stream(String, Arc<Mutex<dyn Write + Send>>),
}

impl fmt::Debug for OutputTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputTarget::Files(names) => names.fmt(f),
            OutputTarget::Stream(label, _) => f.debug_tuple("Stream").field(label).finish_non_exhaustive(),
        }
    }
}

/// The names of files.
#[derive(Clone, Debug)]
struct FileNames {
    /// With `%03d` or `{seed}` where it has them.
    pattern: String,
    /// Whether `%03d` and `{seed}` stand for themselves.
    is_literal: bool,
    /// Whether the program chose the name: then no file is replaced.
    is_default: bool,
}

/// What became of an image that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct WrittenImage {
    /// The image's file; `None` for a stream.
    pub path: Option<PathBuf>,
    /// Whether the file has all the texts. A JPEG has room for 64 KiB of them.
    pub has_all_texts: bool,
    /// Whether the file has the opacity of all pixels, which a JPEG cannot hold.
    pub has_opacity: bool,
}

impl WrittenImage {
    /// One line for a person, if texts were left out.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        if !self.has_opacity {
            return Some("a JPEG has no transparency: what is transparent is white; .png and .webp keep it");
        }
        (!self.has_all_texts)
            .then_some("the prompt is too long for the metadata of a JPEG; .png and .webp have room for it")
    }
}

impl Output {
    /// Files of a name that a person chose; `%03d` stands for an image's number and `{seed}` for its seed. Files that are
    /// there are replaced. What does not depend on a seed is checked, so that it fails before an image is drawn;
    /// [`Output::check`] checks the rest.
    ///
    /// # Errors
    /// Bad input, as of [`Output::check`].
    pub fn new(pattern: &Path) -> Result<Output, AppError> {
        Output::files(pattern, false, false)
    }

    /// The file of a name that a person chose, as it is.
    ///
    /// # Errors
    /// As [`Output::new`].
    pub fn file(path: &Path) -> Result<Output, AppError> {
        Output::files(path, true, false)
    }

    /// Files of a name that the program chose, with `%03d` and `{seed}` as in [`Output::new`]. No file is replaced: where
    /// one is there, the new one's name gets a number.
    ///
    /// # Errors
    /// As [`Output::new`].
    pub fn with_default_name(pattern: &Path) -> Result<Output, AppError> {
        Output::files(pattern, false, true)
    }

    /// The file of a name that the program chose, as it is but for a number.
    ///
    /// # Errors
    /// As [`Output::new`].
    pub fn with_default_file(path: &Path) -> Result<Output, AppError> {
        Output::files(path, true, true)
    }

    /// One image, as a PNG, to a writer. `label` names it in errors.
    #[must_use]
    pub fn stream(label: &str, writer: impl Write + Send + 'static) -> Output {
        let target = OutputTarget::Stream(label.to_owned(), Arc::new(Mutex::new(writer)));
        Output { target, quality: DEFAULT_QUALITY }
    }

    fn files(pattern: &Path, is_literal: bool, is_default: bool) -> Result<Output, AppError> {
        let bad = |reason: &str| AppError::BadInput(format!("{}: {reason}", pattern.display()));
        let name = pattern.to_str().ok_or_else(|| bad("the name is not UTF-8"))?;
        if name.is_empty() {
            return Err(bad("is not a name of a file"));
        }
        let names = FileNames { pattern: name.to_owned(), is_literal, is_default };
        let output = Output { target: OutputTarget::Files(names), quality: DEFAULT_QUALITY };
        let first = output.path(0, 0);
        if output.has_seed() {
            format_of(&first)?;
        } else {
            output.check([first])?;
        }
        Ok(output)
    }

    /// The same, with JPEGs of this quality, 1 to 100.
    #[must_use]
    pub fn with_quality(self, quality: u8) -> Output {
        Output { quality, ..self }
    }

    /// Whether the image goes to a writer and not to a file.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self.target, OutputTarget::Stream(..))
    }

    /// Whether the names depend on a seed.
    #[must_use]
    pub fn has_seed(&self) -> bool {
        matches!(&self.target, OutputTarget::Files(names) if names.has_seed())
    }

    /// The file of image `index`, counted from 0, with `%03d` and `{seed}` filled in. Without either, images after the
    /// first get `_2`, `_3` and so on. A stream has its label.
    #[must_use]
    pub fn path(&self, index: usize, seed: u64) -> PathBuf {
        match &self.target {
            OutputTarget::Files(names) => names.path(index, seed),
            OutputTarget::Stream(label, _) => PathBuf::from(label),
        }
    }

    /// Checks all files that are going to be written, before the first is, and removes what killed programs left in their
    /// folders.
    ///
    /// # Errors
    /// Bad input: a name of another image format, a folder that does not exist or cannot be written to, something else
    /// than a file of that name or at the end of a link of that name, one file for two images, several images for a stream.
    pub fn check(&self, paths: impl IntoIterator<Item = PathBuf>) -> Result<(), AppError> {
        let names = match &self.target {
            OutputTarget::Files(names) => names,
            OutputTarget::Stream(label, _) => {
                return match paths.into_iter().nth(1) {
                    Some(_) => Err(AppError::BadInput(format!("{label}: takes one image; name a file"))),
                    None => Ok(()),
                };
            }
        };
        let (mut folders, mut files) = (HashSet::new(), HashSet::new());
        for path in paths {
            format_of(&path)?;
            if names.is_default {
                unused_path(&path)?;
                if folders.insert(folder(&path).to_owned()) {
                    prepare_folder(folder(&path))?;
                }
                continue;
            }
            let file = AtomicFile::new(&path)?;
            if !files.insert(file.identity()) {
                let line = format!("{}: would be the file of two images; name another", path.display());
                return Err(AppError::BadInput(line));
            }
            if folders.insert(file.folder().to_owned()) || file.is_there() {
                file.prepare()?;
            }
        }
        Ok(())
    }

    /// Writes an image whole or not at all: a temporary file beside it is renamed when it is complete. `texts` are pairs
    /// of a keyword and a text.
    ///
    /// # Errors
    /// A run-time failure, if the file or the stream cannot be written.
    pub fn write(
        &self,
        path: &Path,
        image: &Image,
        texts: &[(&str, String)],
    ) -> Result<WrittenImage, AppError> {
        self.write_with_opacity(path, image, None, texts)
    }

    /// The same with the opacity of the pixels, `[height, width, 4]` with the colours, for the formats that have any.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn write_with_opacity(
        &self,
        path: &Path,
        image: &Image,
        rgba: Option<&[u8]>,
        texts: &[(&str, String)],
    ) -> Result<WrittenImage, AppError> {
        let failed = |error: String| AppError::RunTime(format!("{}: {error}", path.display()));
        let names = match &self.target {
            OutputTarget::Files(names) => names,
            OutputTarget::Stream(label, writer) => return write_to(label, writer, (image, rgba), texts),
        };
        let format = ImageFileFormat::of(path, self.quality).map_err(failed)?;
        let encode =
            |file: &mut std::io::BufWriter<std::fs::File>| encode::encode(file, format, (image, rgba), texts);
        let (path, has_all_texts) = if names.is_default {
            AtomicFile::write_unused(path, encode)?
        } else {
            (path.to_owned(), AtomicFile::new(path).map_err(after_the_work)?.write(encode)?)
        };
        let has_opacity = rgba.is_none() || !matches!(format, ImageFileFormat::Jpeg(_));
        Ok(WrittenImage { path: Some(path), has_all_texts, has_opacity })
    }
}

impl FileNames {
    fn has_seed(&self) -> bool {
        !self.is_literal && self.pattern.contains("{seed}")
    }

    fn path(&self, index: usize, seed: u64) -> PathBuf {
        if self.is_literal {
            return PathBuf::from(&self.pattern);
        }
        let with_seed = self.pattern.replace("{seed}", &seed.to_string());
        let (filled, counted) = fill_counter(&with_seed, index);
        if index == 0 || counted || self.has_seed() {
            return PathBuf::from(filled);
        }
        numbered(Path::new(&filled), index as u64 + 1)
    }
}

/// The pattern of a name that is made from a prompt: its words, and the seed.
#[must_use]
pub fn pattern_of_prompt(prompt: &str) -> PathBuf {
    PathBuf::from(format!("{}-{{seed}}.png", slug(prompt)))
}

/// Refuses a name of another image format.
fn format_of(path: &Path) -> Result<(), AppError> {
    let format = ImageFileFormat::of(path, DEFAULT_QUALITY);
    format.map(|_| ()).map_err(|reason| AppError::BadInput(format!("{}: {reason}", path.display())))
}

/// Writes an image as a PNG to a stream.
fn write_to(
    label: &str,
    writer: &Mutex<dyn Write + Send>,
    pixels: (&Image, Option<&[u8]>),
    texts: &[(&str, String)],
) -> Result<WrittenImage, AppError> {
    let failed = |error: &dyn fmt::Display| AppError::RunTime(format!("{label}: {error}"));
    let mut bytes = Vec::new();
    let has_all_texts =
        encode::encode(&mut bytes, ImageFileFormat::Png, pixels, texts).map_err(|error| failed(&error))?;
    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
    writer.write_all(&bytes).and_then(|()| writer.flush()).map_err(|error| failed(&error))?;
    Ok(WrittenImage { path: None, has_all_texts, has_opacity: true })
}

/// An image as the bytes of a PNG without texts.
///
/// # Errors
/// A run-time failure: an image without pixels, or one of more than 4 billion pixels along a side.
pub fn png(image: &Image) -> Result<Vec<u8>, AppError> {
    let mut bytes = Vec::new();
    let encoded = encode::encode(&mut bytes, ImageFileFormat::Png, (image, None), &[]);
    encoded.map_err(|error| AppError::RunTime(format!("a PNG: {error}")))?;
    Ok(bytes)
}

/// An image as the bytes of a JPEG without texts, of a quality of 1 to 100: for previews.
///
/// # Errors
/// A run-time failure: an image without pixels, or one of more than 65535 pixels along a side.
pub fn jpeg(image: &Image, quality: u8) -> Result<Vec<u8>, AppError> {
    let mut bytes = Vec::new();
    let encoded = encode::encode(&mut bytes, ImageFileFormat::Jpeg(quality), (image, None), &[]);
    encoded.map_err(|error| AppError::RunTime(format!("a JPEG: {error}")))?;
    Ok(bytes)
}

/// An image as the bytes of a file of a format, with texts. Where the format has no opacity, what is transparent is white.
///
/// # Errors
/// A run-time failure: an image without pixels, or with more along a side than the format has room for.
pub fn file_bytes(
    image: &InputImage,
    format: ImageFileFormat,
    texts: &[(&str, String)],
) -> Result<Vec<u8>, AppError> {
    let mut bytes = Vec::new();
    let encoded = match &image.alpha {
        None => encode::encode(&mut bytes, format, (&image.image, None), texts),
        Some(_) if matches!(format, ImageFileFormat::Jpeg(_)) => {
            encode::encode(&mut bytes, format, (&image.clone().over(BACKGROUND), None), texts)
        }
        Some(alpha) => {
            let (pixels, _) = image.image.rgb.as_chunks::<3>();
            let rgba: Vec<u8> =
                pixels.iter().zip(alpha).flat_map(|([r, g, b], alpha)| [*r, *g, *b, *alpha]).collect();
            encode::encode(&mut bytes, format, (&image.image, Some(&rgba)), texts)
        }
    };
    encoded.map_err(|error| AppError::RunTime(format!("an image file: {error}")))?;
    Ok(bytes)
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
        let names = FileNames { pattern: pattern.to_owned(), is_literal: false, is_default: false };
        (0..2).map(|i| names.path(i, 40 + i as u64).display().to_string()).collect()
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
