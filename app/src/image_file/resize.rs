//! Bringing images to a size.

use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};
use latent_diffusion::families::Model;
use latent_diffusion::names::{self, Named, UnknownName};
use latent_diffusion::{Image, MAX_SIDE, Margins, Mask};

/// Minimum side that is drawn, in elements of a latent: a UNet halves it three times.
const MIN_ELEMENTS: usize = 8;

/// What happens to an image whose aspect ratio is not the one that is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resize {
    /// Its aspect ratio changes.
    Stretch,
    /// It fills the size; what does not fit is cut off on both sides.
    #[default]
    Crop,
    /// All of it is visible; its edge pixels are repeated beside it.
    Fit,
}

impl Resize {
    /// Every mode.
    pub const ALL: [Resize; 3] = [Resize::Stretch, Resize::Crop, Resize::Fit];

    /// The mode of that name.
    ///
    /// # Errors
    /// An unknown name.
    pub fn parse(name: &str) -> Result<Resize, UnknownName> {
        names::find("resize mode", name, &Resize::ALL).copied()
    }
}

impl Named for Resize {
    fn name(&self) -> &'static str {
        match self {
            Resize::Stretch => "stretch",
            Resize::Crop => "crop",
            Resize::Fit => "fit",
        }
    }
}

/// The width and height to draw an image in: as asked for, or of the image's aspect ratio and with about as many pixels as
/// the model was trained on.
pub(crate) fn size_for(
    image: &Image,
    asked: (Option<usize>, Option<usize>),
    model: &Model,
) -> (usize, usize) {
    let shape = image.width as f64 / image.height as f64;
    let factor = model.size_multiple();
    let side = |side: f64| {
        let elements = (side / factor as f64).round() as usize;
        elements.clamp(MIN_ELEMENTS, MAX_SIDE / factor) * factor
    };
    let area = (model.resolution.0 * model.resolution.1) as f64;
    match asked {
        (Some(width), Some(height)) => (width, height),
        (Some(width), None) => (width, side(width as f64 / shape)),
        (None, Some(height)) => (side(height as f64 * shape), height),
        (None, None) => (side((area * shape).sqrt()), side((area / shape).sqrt())),
    }
}

/// The image brought to a width and height, in the way of a mode.
#[must_use]
pub fn to_size(image: &Image, (width, height): (usize, usize), mode: Resize) -> Image {
    let (from_width, from_height) = (image.width as f64, image.height as f64);
    let scales = [width as f64 / from_width, height as f64 / from_height];
    let scale = match mode {
        Resize::Stretch => return resized(image, width, height),
        Resize::Crop => scales[0].max(scales[1]),
        Resize::Fit => scales[0].min(scales[1]),
    };
    // The part of the image that is shown, cut out before it is scaled, so that a thin image does not become huge first.
    let shown = |from: usize, to: usize| ((to as f64 / scale).round() as usize).clamp(1, from);
    let part = [shown(image.width, width), shown(image.height, height)];
    let (left, top) = ((image.width - part[0]) / 2, (image.height - part[1]) / 2);
    let image = image.cropped(left, top, part[0], part[1]);
    let side = |from: usize, to: usize| match mode {
        Resize::Fit => ((from as f64 * scale).round() as usize).clamp(1, to),
        _ => to,
    };
    let inner = resized(&image, side(part[0], width), side(part[1], height));
    let (left, top) = ((width - inner.width) / 2, (height - inner.height) / 2);
    let (right, bottom) = (width - inner.width - left, height - inner.height - top);
    inner.grown(Margins { left, right, top, bottom }).0
}

/// The image stretched to a width and height by Lanczos' filter.
#[must_use]
pub fn resized(image: &Image, width: usize, height: usize) -> Image {
    if (image.width, image.height) == (width, height) {
        return image.clone();
    }
    let (w, h) = (image.width as u32, image.height as u32);
    let buffer = RgbImage::from_raw(w, h, image.rgb.clone()).expect("an image has three bytes a pixel");
    let rgb = imageops::resize(&buffer, width as u32, height as u32, FilterType::Lanczos3).into_raw();
    Image { width, height, rgb }
}

/// The mask stretched to a width and height: whatever a pixel that is drawn contributes to is drawn.
#[must_use]
pub fn mask_to(mask: &Mask, width: usize, height: usize) -> Mask {
    let values = mask.values.iter().map(|value| if *value > 0 { 255 } else { 0 }).collect();
    let image = GrayImage::from_raw(mask.width as u32, mask.height as u32, values);
    let image = image.expect("a mask has a byte a pixel");
    let image = imageops::resize(&image, width as u32, height as u32, FilterType::Triangle);
    Mask {
        width,
        height,
        values: image.into_raw().into_iter().map(|v| if v > 0 { 255 } else { 0 }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of rising brightness.
    fn ramp(width: usize, height: usize) -> Image {
        let rgb = (0..width * height).flat_map(|i| [(i % width * 255 / width.max(2)) as u8; 3]).collect();
        Image { width, height, rgb }
    }

    #[test]
    fn every_mode_gives_the_size_for_every_shape() {
        for (width, height) in [(1, 1), (1, 500), (500, 1), (3, 2), (64, 64), (200, 30)] {
            for mode in [Resize::Stretch, Resize::Crop, Resize::Fit] {
                for size in [(64, 64), (96, 32), (8, 128)] {
                    let out = to_size(&ramp(width, height), size, mode);
                    assert_eq!((out.width, out.height), size, "{width}x{height} {mode:?}");
                    assert_eq!(out.rgb.len(), 3 * size.0 * size.1);
                }
            }
        }
    }

    #[test]
    fn modes_differ_in_what_they_show() {
        let image = ramp(200, 100);
        let ends = |mode| {
            let out = to_size(&image, (100, 100), mode);
            (out.rgb[3 * 100 * 50], out.rgb[3 * 100 * 50 + 3 * 99])
        };
        let ((stretched, _), (cropped, _), (fitted, _)) =
            (ends(Resize::Stretch), ends(Resize::Crop), ends(Resize::Fit));
        assert!(stretched < 8 && fitted < 8, "all is shown: {stretched} {fitted}");
        assert!((56..72).contains(&cropped), "a quarter is cut off on each side: {cropped}");
        let fitted = to_size(&image, (100, 100), Resize::Fit);
        assert_eq!(fitted.rgb[..300], fitted.rgb[300 * 25..300 * 26], "edges go on");
        assert_eq!(to_size(&image, (200, 100), Resize::Crop), image);
    }

    #[test]
    fn a_mask_keeps_all_that_is_drawn() {
        let mut mask = Mask::filled(100, 100, 0);
        mask.values[5050] = 1;
        assert!(mask_to(&mask, 300, 300).values.iter().filter(|v| **v > 0).count() >= 9);
        assert!(!mask_to(&mask, 100, 100).is_empty());
    }
}
