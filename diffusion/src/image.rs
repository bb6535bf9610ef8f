//! Pixels.

use crate::Error;
use crate::setting::Setting;
use latent_tensor::Tensor;

/// Maximum side of an image in pixels. Attention over a larger one would take days.
pub const MAX_SIDE: usize = 8192;

/// An 8-bit RGB image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`
    pub rgb: Vec<u8>,
}

impl Image {
    /// The images of a tensor `[n, height, width, 3]` of -1..1; values outside are clamped.
    ///
    /// # Errors
    /// [`Error::Setting`]: a tensor that is not an RGB image.
    pub fn from_tensor(pixels: &Tensor) -> Result<Vec<Image>, Error> {
        let &[_, height, width, 3] = pixels.dims() else {
            let reason = format!("a tensor {} is not an RGB image", pixels.shape());
            return Err(Error::setting(Setting::Image, reason));
        };
        let byte = |v: &f32| ((v / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        let images = pixels.f32s()?.chunks_exact((height * width * 3).max(1));
        Ok(images.map(|values| Image { width, height, rgb: values.iter().map(byte).collect() }).collect())
    }

    /// The image as a tensor `[1, height, width, 3]` of -1..1.
    ///
    /// # Errors
    /// Fewer or more values than width and height require.
    pub fn to_tensor(&self) -> Result<Tensor, Error> {
        let values: Vec<f32> = self.rgb.iter().map(|byte| f32::from(*byte) / 255.0 * 2.0 - 1.0).collect();
        Ok(Tensor::from_f32(&[1, self.height, self.width, 3], &values)?)
    }

    /// A part of the image.
    ///
    /// # Panics
    /// If the part is not within the image.
    #[must_use]
    pub fn cropped(&self, left: usize, top: usize, width: usize, height: usize) -> Image {
        let rows = self.rgb.chunks_exact((3 * self.width).max(1)).skip(top).take(height);
        let rgb = rows.flat_map(|row| &row[3 * left..3 * (left + width)]).copied().collect();
        Image { width, height, rgb }
    }

    /// The image with margins around it, which have its nearest colours.
    pub(crate) fn extended(&self, margins: Margins) -> Image {
        let Margins { left, right, top, bottom } = margins;
        let (width, height) = (left + self.width + right, top + self.height + bottom);
        let inside = |at: usize, before: usize, side: usize| at.saturating_sub(before).min(side - 1);
        let mut rgb = Vec::with_capacity(3 * width * height);
        for y in 0..height {
            let row = &self.rgb[3 * self.width * inside(y, top, self.height)..][..3 * self.width];
            (0..width).for_each(|x| rgb.extend_from_slice(&row[3 * inside(x, left, self.width)..][..3]));
        }
        Image { width, height, rgb }
    }

    /// The image with its last pixels repeated to the right and below until its sides are multiples.
    pub(crate) fn padded_to(&self, multiple: usize) -> Image {
        let room = |side: usize| side.next_multiple_of(multiple) - side;
        self.extended(Margins { right: room(self.width), bottom: room(self.height), ..Margins::default() })
    }
}

/// Pixels that an image is extended by on each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Margins {
    /// To the left.
    pub left: usize,
    /// To the right.
    pub right: usize,
    /// Above.
    pub top: usize,
    /// Below.
    pub bottom: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Mask;

    fn numbered(width: usize, height: usize) -> Image {
        Image { width, height, rgb: (0..width * height).flat_map(|i| [i as u8; 3]).collect() }
    }

    fn reds(image: &Image) -> Vec<u8> {
        image.rgb.iter().copied().step_by(3).collect()
    }

    #[test]
    fn a_tensor_gives_the_bytes_again() {
        let image = Image { width: 16, height: 16, rgb: (0..=255).flat_map(|v| [v; 3]).collect() };
        assert_eq!(Image::from_tensor(&image.to_tensor().unwrap()).unwrap(), [image]);
    }

    #[test]
    fn a_grown_image_holds_the_old_one() {
        let image = numbered(2, 2);
        let (grown, mask) = image.grown(Margins { left: 1, right: 2, top: 0, bottom: 1 });
        assert_eq!(reds(&grown), [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 2, 2, 3, 3, 3]);
        assert_eq!(mask.values, [255, 0, 0, 255, 255, 255, 0, 0, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(grown.cropped(1, 0, 2, 2), image);
    }

    #[test]
    fn holes_take_the_nearest_colour() {
        let mask = Mask { width: 5, height: 1, values: vec![0, 255, 1, 255, 0] };
        let filled = numbered(5, 1).with_nearest(&mask).unwrap();
        assert_eq!([0, 1, 3, 4].map(|i| reds(&filled)[i]), [0, 0, 4, 4]);
        // Nothing is near where nothing is kept.
        assert_eq!(numbered(5, 1).with_nearest(&Mask::filled(5, 1, 255)).unwrap(), numbered(5, 1));
    }

    #[test]
    fn sides_become_multiples() {
        let padded = numbered(3, 1).padded_to(4);
        assert_eq!((padded.width, padded.height), (4, 4));
        assert_eq!(reds(&padded)[..8], [0, 1, 2, 2, 0, 1, 2, 2]);
        assert_eq!(Mask::filled(3, 1, 9).padded_to(4), Mask::filled(4, 4, 9));
    }
}
