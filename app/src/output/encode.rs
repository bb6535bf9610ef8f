//! Images as the bytes of a file: PNG, JPEG and WebP, with the texts that say how they were made.

use crate::metadata::exif;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use latent_diffusion::Image;
use std::io::Write;
use std::path::Path;

/// Maximum size of an EXIF block in a JPEG in bytes: a segment's length has 16 bits, and `Exif\0\0` precedes the block.
const MAX_EXIF_BYTES: usize = 0xffff - 2 - 6;

/// Default quality of a JPEG: hardly distinguishable from the image itself.
pub const DEFAULT_QUALITY: u8 = 95;

/// The format of an image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageFileFormat {
    /// PNG, which is lossless.
    Png,
    /// JPEG of a quality of 1 to 100.
    Jpeg(u8),
    /// Lossless WebP.
    WebP,
}

impl ImageFileFormat {
    /// The format that a file's name asks for, with a JPEG's quality; PNG where the extension is not that of an image.
    ///
    /// # Errors
    /// The rest of a line that begins with the file's name, if the extension is that of another image format.
    pub fn of(path: &Path, quality: u8) -> Result<ImageFileFormat, String> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.unwrap_or_default().as_str() {
            "jpg" | "jpeg" => Ok(ImageFileFormat::Jpeg(quality)),
            "webp" => Ok(ImageFileFormat::WebP),
            other if other != "png" && image::ImageFormat::from_extension(other).is_some() => {
                Err(format!("images are not written as .{other}; name a .png, .jpg or .webp file"))
            }
            _ => Ok(ImageFileFormat::Png),
        }
    }
}

/// Writes an image, with `parameters` and `latent` among its texts where readers look for them; whether all texts were
/// written. Those that do not fit the format are left out. The image may come with its pixels as RGBA, for the formats that
/// have opacity.
pub(super) fn encode(
    to: impl Write,
    format: ImageFileFormat,
    (image, rgba): (&Image, Option<&[u8]>),
    texts: &[(&str, String)],
) -> Result<bool, Box<dyn std::error::Error>> {
    let (width, height) = (u32::try_from(image.width)?, u32::try_from(image.height)?);
    let (pixels, colour) =
        rgba.map_or((&image.rgb[..], ExtendedColorType::Rgb8), |rgba| (rgba, ExtendedColorType::Rgba8));
    match format {
        ImageFileFormat::Png => png(to, (width, height), (pixels, colour), texts).map(|()| true),
        ImageFileFormat::Jpeg(quality) => {
            let mut encoder = JpegEncoder::new_with_quality(to, quality);
            let (block, is_whole) = exif_block(texts, MAX_EXIF_BYTES);
            if let Some(block) = block {
                encoder.set_exif_metadata(block)?;
            }
            encoder.write_image(&image.rgb, width, height, ExtendedColorType::Rgb8)?;
            Ok(is_whole)
        }
        ImageFileFormat::WebP => {
            let mut encoder = WebPEncoder::new_lossless(to);
            if let (Some(block), _) = exif_block(texts, usize::MAX) {
                encoder.set_exif_metadata(block)?;
            }
            encoder.write_image(pixels, width, height, colour)?;
            Ok(true)
        }
    }
}

/// An EXIF block of at most `max_bytes` with as many of the texts as fit, and whether all of them do.
fn exif_block(texts: &[(&str, String)], max_bytes: usize) -> (Option<Vec<u8>>, bool) {
    let text = |wanted| texts.iter().find(|(keyword, _)| *keyword == wanted).map(|(_, text)| text.as_str());
    let Some(parameters) = text("parameters") else { return (None, true) };
    let fits = |own| Some(exif::write(parameters, own)).filter(|block| block.len() <= max_bytes);
    match fits(text("latent")) {
        Some(block) => (Some(block), true),
        None => (fits(None), false),
    }
}

/// A PNG with text chunks: in Latin-1 where possible, as the webui does, or else in UTF-8.
fn png(
    to: impl Write,
    (width, height): (u32, u32),
    (pixels, colour): (&[u8], ExtendedColorType),
    texts: &[(&str, String)],
) -> Result<(), Box<dyn std::error::Error>> {
    let mut encoder = png::Encoder::new(to, width, height);
    let has_alpha = colour == ExtendedColorType::Rgba8;
    encoder.set_color(if has_alpha { png::ColorType::Rgba } else { png::ColorType::Rgb });
    encoder.set_depth(png::BitDepth::Eight);
    for (keyword, text) in texts {
        if is_latin1(text) {
            encoder.add_text_chunk((*keyword).to_owned(), text.clone())?;
        } else {
            encoder.add_itxt_chunk((*keyword).to_owned(), text.clone())?;
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(())
}

/// Whether a text can be written as Latin-1 without being taken for UTF-8, which some programs write there.
fn is_latin1(text: &str) -> bool {
    let latin1: Option<Vec<u8>> =
        text.chars().map(|c| u8::try_from(u32::from(c)).ok().filter(|byte| *byte != 0)).collect();
    latin1.is_some_and(|bytes| bytes.is_ascii() || std::str::from_utf8(&bytes).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_name_formats() {
        let of = |name: &str| ImageFileFormat::of(Path::new(name), 90);
        assert_eq!(of("a.png"), Ok(ImageFileFormat::Png));
        assert_eq!(of("a.JPG"), Ok(ImageFileFormat::Jpeg(90)));
        assert_eq!(of("a.jpeg"), Ok(ImageFileFormat::Jpeg(90)));
        assert_eq!(of("a.WebP"), Ok(ImageFileFormat::WebP));
        for name in ["a", "a.v2", "a.", ".png", "100%"] {
            assert_eq!(of(name), Ok(ImageFileFormat::Png), "{name}");
        }
        for name in ["a.gif", "a.bmp", "a.TIFF", "a.avif", "a.tga"] {
            assert!(of(name).unwrap_err().contains(".webp"), "{name}");
        }
    }

    #[test]
    fn text_that_looks_like_utf_8_is_written_as_such() {
        assert!(is_latin1("a cat\n") && is_latin1("café") && is_latin1(""));
        assert!(!is_latin1("caf\u{c3}\u{a9}") && !is_latin1("猫") && !is_latin1("a\0b"));
    }

    #[test]
    fn a_prompt_too_long_for_a_jpeg_is_left_out_and_the_image_written() {
        let image = Image { width: 8, height: 8, rgb: vec![9; 192] };
        let texts = |n: usize| [("parameters", "é".repeat(n)), ("latent", "x".repeat(n))];
        let kept = |n: usize| {
            let mut bytes = Vec::new();
            let is_whole = encode(&mut bytes, ImageFileFormat::Jpeg(95), (&image, None), &texts(n)).unwrap();
            assert_eq!(image::load_from_memory(&bytes).unwrap().width(), 8);
            let found = crate::metadata::container::read(&mut std::io::Cursor::new(bytes)).unwrap();
            let kept =
                ["UserComment", "latent"].map(|keyword| found.iter().any(|text| text.keyword == keyword));
            assert_eq!(is_whole, kept == [true; 2]);
            kept
        };
        assert_eq!((kept(20_000), kept(30_000), kept(40_000)), ([true; 2], [true, false], [false; 2]));
    }
}
