//! Images as the bytes of a file: PNG, JPEG and WebP, with the texts that tell how they were made.

use crate::metadata::exif;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use latent_diffusion::Image;
use std::io::Write;
use std::path::Path;

/// Most bytes of an EXIF block in a JPEG: a segment's length has 16 bits, and `Exif\0\0` stands before it.
const MOST_EXIF: usize = 0xffff - 2 - 6;

/// Quality of a JPEG that nothing was said about: hardly to be told from the image itself.
pub const QUALITY: u8 = 95;

/// How an image is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lossless.
    Png,
    /// With losses, which the quality from 1 to 100 limits.
    Jpeg(u8),
    /// Lossless.
    WebP,
}

impl Format {
    /// What a file's name asks for; PNG where its ending is no image's.
    ///
    /// # Errors
    /// A part of a line, if the ending is that of a format which is not written.
    pub fn of(path: &Path, quality: u8) -> Result<Format, String> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let ending = ending.unwrap_or_default();
        match ending.as_str() {
            "jpg" | "jpeg" => Ok(Format::Jpeg(quality)),
            "webp" => Ok(Format::WebP),
            other if other != "png" && image::ImageFormat::from_extension(other).is_some() => {
                Err(format!("images are not written as .{other}; name a .png, .jpg or .webp file"))
            }
            _ => Ok(Format::Png),
        }
    }
}

/// Writes an image, with `parameters` and `latent` among its texts where readers look for them. What is too much for the
/// format is left out, and told.
pub(super) fn encode(
    to: impl Write,
    format: Format,
    image: &Image,
    texts: &[(&str, String)],
) -> Result<(), Box<dyn std::error::Error>> {
    let (width, height) = (u32::try_from(image.width)?, u32::try_from(image.height)?);
    let rgb = ExtendedColorType::Rgb8;
    match format {
        Format::Png => png(to, (width, height), &image.rgb, texts),
        Format::Jpeg(quality) => {
            let mut encoder = JpegEncoder::new_with_quality(to, quality);
            if let Some(block) = block(texts, MOST_EXIF) {
                encoder.set_exif_metadata(block)?;
            }
            Ok(encoder.write_image(&image.rgb, width, height, rgb)?)
        }
        Format::WebP => {
            let mut encoder = WebPEncoder::new_lossless(to);
            if let Some(block) = block(texts, usize::MAX) {
                encoder.set_exif_metadata(block)?;
            }
            Ok(encoder.write_image(&image.rgb, width, height, rgb)?)
        }
    }
}

/// An EXIF block of the texts that has at most so many bytes.
fn block(texts: &[(&str, String)], most: usize) -> Option<Vec<u8>> {
    let text = |wanted| texts.iter().find(|(keyword, _)| *keyword == wanted).map(|(_, text)| text.as_str());
    let parameters = text("parameters")?;
    let fits = |own| Some(exif::write(parameters, own)).filter(|block| block.len() <= most);
    let whole = fits(text("latent"));
    if whole.is_none() {
        eprintln!(
            "latent: the prompt is too long for what a JPEG may tell of itself; .png and .webp have room"
        );
    }
    whole.or_else(|| fits(None))
}

/// A PNG with text chunks: Latin-1 where that can be, as the webui does, UTF-8 where it must.
fn png(
    to: impl Write,
    (width, height): (u32, u32),
    rgb: &[u8],
    texts: &[(&str, String)],
) -> Result<(), Box<dyn std::error::Error>> {
    let mut encoder = png::Encoder::new(to, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    for (keyword, text) in texts {
        if is_plain(text) {
            encoder.add_text_chunk((*keyword).to_owned(), text.clone())?;
        } else {
            encoder.add_itxt_chunk((*keyword).to_owned(), text.clone())?;
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(())
}

/// Whether a text can be Latin-1, and would not be taken for UTF-8 then, as some programs write it.
fn is_plain(text: &str) -> bool {
    let latin1: Option<Vec<u8>> =
        text.chars().map(|c| u8::try_from(u32::from(c)).ok().filter(|byte| *byte != 0)).collect();
    latin1.is_some_and(|bytes| bytes.is_ascii() || std::str::from_utf8(&bytes).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_name_formats() {
        let of = |name: &str| Format::of(Path::new(name), 90);
        assert_eq!(of("a.png"), Ok(Format::Png));
        assert_eq!(of("a.JPG"), Ok(Format::Jpeg(90)));
        assert_eq!(of("a.jpeg"), Ok(Format::Jpeg(90)));
        assert_eq!(of("a.WebP"), Ok(Format::WebP));
        for name in ["a", "a.v2", "a.", ".png", "100%"] {
            assert_eq!(of(name), Ok(Format::Png), "{name}");
        }
        for name in ["a.gif", "a.bmp", "a.TIFF", "a.avif", "a.tga"] {
            assert!(of(name).unwrap_err().contains(".webp"), "{name}");
        }
    }

    #[test]
    fn text_that_looks_like_utf_8_is_written_as_such() {
        assert!(is_plain("a cat\n") && is_plain("café") && is_plain(""));
        assert!(!is_plain("caf\u{c3}\u{a9}") && !is_plain("猫") && !is_plain("a\0b"));
    }

    #[test]
    fn a_prompt_too_long_for_a_jpeg_is_left_out_and_the_image_written() {
        let image = Image { width: 8, height: 8, rgb: vec![9; 192] };
        let texts = |n: usize| [("parameters", "é".repeat(n)), ("latent", "x".repeat(n))];
        let kept = |n: usize| {
            let mut bytes = Vec::new();
            encode(&mut bytes, Format::Jpeg(95), &image, &texts(n)).unwrap();
            assert_eq!(image::load_from_memory(&bytes).unwrap().width(), 8);
            let found = crate::metadata::container::read(&mut std::io::Cursor::new(bytes)).unwrap().texts;
            ["UserComment", "latent"].map(|keyword| found.iter().any(|text| text.keyword == keyword))
        };
        assert_eq!((kept(20_000), kept(30_000), kept(40_000)), ([true; 2], [true, false], [false; 2]));
    }
}
