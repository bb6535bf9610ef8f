//! Bytes to pixels: PNG, JPEG, WebP, GIF, BMP, TIFF, QOI, PNM and TGA, of any depth and colour.
//!
//! The size is checked before any memory is taken, as a small file can claim a huge one. A photo is rotated as its EXIF
//! orientation says. Of an animation, the first image is used.
//!
//! This file needs nothing else of the crate: the fuzzer includes it by its path.

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use latent_diffusion::{Image, Mask};
use std::io::{BufRead, Seek};

/// Maximum number of pixels of an image: 8192x8192.
pub const MAX_PIXELS: u64 = 1 << 26;
/// Maximum size of a file in bytes: that of the largest image without compression, and a mebibyte for its metadata.
pub const MAX_FILE_BYTES: u64 = MAX_PIXELS * MEMORY_PER_PIXEL + (1 << 20);
/// Maximum bytes that a decoder may take for a pixel, besides the image itself: 16 bits for each of four channels.
const MEMORY_PER_PIXEL: u64 = 8;

/// An image as it was given, with its transparency.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputImage {
    /// Its colours, also where it is transparent.
    pub image: Image,
    /// How opaque each pixel is, row by row, 255 for opaque; `None` for a file without transparency.
    pub alpha: Option<Vec<u8>>,
}

impl InputImage {
    /// An image in memory, or the same with opacity as `[height, width, 4]`.
    #[must_use]
    pub fn drawn(image: Image, rgba: Option<&[u8]>) -> InputImage {
        let Some(rgba) = rgba else { return InputImage { image, alpha: None } };
        let (pixels, _) = rgba.as_chunks::<4>();
        let rgb = pixels.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]).collect();
        let alpha = pixels.iter().map(|[.., alpha]| *alpha).collect();
        InputImage { image: Image { rgb, ..image }, alpha: Some(alpha) }
    }
}

/// Decodes an image of at most `max_pixels`. `named` is the format that the file's name suggests: the first bytes are
/// trusted more, but those of a TGA identify nothing.
///
/// # Errors
/// The rest of a line that begins with the file's name.
pub fn decode(
    bytes: impl BufRead + Seek,
    named: Option<ImageFormat>,
    max_pixels: u64,
) -> Result<InputImage, String> {
    let mut reader = ImageReader::new(bytes);
    if let Some(format) = named {
        reader.set_format(format);
    }
    let mut reader = reader.with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        let known = "PNG, JPEG, WebP, GIF, BMP, TIFF, QOI, PNM and TGA can be read";
        return Err(format!("is not an image of a known format; {known}"));
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(max_pixels * MEMORY_PER_PIXEL);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(format!("is {width}x{height}: it has no pixels"));
    }
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(format!(
            "is {width}x{height}, more than {} million pixels; make it smaller first",
            max_pixels / 1_000_000
        ));
    }
    let orientation = decoder.orientation().map_err(unreadable)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    image.apply_orientation(orientation);
    Ok(InputImage::of(image))
}

fn unreadable(error: image::ImageError) -> String {
    format!("cannot be read as an image: {error}")
}

impl InputImage {
    fn of(image: DynamicImage) -> InputImage {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let has_alpha = image.color().has_alpha();
        let rgba = image.into_rgba8().into_raw();
        let rgb = rgba.chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied().collect();
        let alpha = has_alpha.then(|| rgba.iter().copied().skip(3).step_by(4).collect());
        InputImage { image: Image { width, height, rgb }, alpha }
    }

    /// The image on a background of that grey, where it is transparent.
    #[must_use]
    pub fn over(self, background: u8) -> Image {
        let InputImage { mut image, alpha } = self;
        for (pixel, alpha) in image.rgb.chunks_exact_mut(3).zip(alpha.iter().flatten()) {
            let (alpha, background) = (u32::from(*alpha), u32::from(background));
            for value in pixel {
                *value = ((u32::from(*value) * alpha + background * (255 - alpha) + 127) / 255) as u8;
            }
        }
        image
    }

    /// The image as a mask: white is drawn, black and transparent are kept. Where all that is painted has one colour, on
    /// transparency, the opacity is the mask, whatever the colour.
    #[must_use]
    pub fn into_mask(self) -> Mask {
        if let Some(values) = self.painted() {
            return Mask { width: self.image.width, height: self.image.height, values: values.to_vec() };
        }
        let Image { width, height, rgb } = self.over(0);
        // Rec. 601, by which most programs convert colours to grey.
        let grey = |pixel: &[u8]| {
            let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            ((r * 299 + g * 587 + b * 114 + 500) / 1000) as u8
        };
        Mask { width, height, values: rgb.chunks_exact(3).map(grey).collect() }
    }

    /// The opacity, if it varies and the colour of what is not transparent does not.
    fn painted(&self) -> Option<&[u8]> {
        let alpha = self.alpha.as_deref()?;
        let mut seen = self.image.rgb.chunks_exact(3).zip(alpha).filter(|(_, alpha)| **alpha > 0);
        let (colour, _) = seen.next()?;
        let varies = alpha.iter().any(|value| *value != alpha[0]);
        (varies && seen.all(|(other, _)| other == colour)).then_some(alpha)
    }

    /// The mask of what is transparent; `None` for a file without transparency.
    #[must_use]
    pub fn hole(&self) -> Option<Mask> {
        let Image { width, height, .. } = self.image;
        let values = self.alpha.as_ref()?.iter().map(|alpha| 255 - alpha).collect();
        Some(Mask { width, height, values })
    }
}
