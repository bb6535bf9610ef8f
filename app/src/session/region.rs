//! The surroundings of a mask, drawn in a size of their own and put back.

use crate::AppError;
use crate::image_file::{self, Resize};
use latent_diffusion::{Fill, Image, Mask};

/// A part of an image that is drawn in place of the whole.
#[derive(Debug)]
pub(super) struct MaskedRegion {
    /// What is under the part.
    under: Image,
    /// The mask of the whole image.
    mask: Mask,
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    /// Pixels around the mask that were asked for.
    pub(super) padding: usize,
}

impl MaskedRegion {
    /// The surroundings of a mask with `padding` pixels around it, and image and mask of them in a size to draw. `None`
    /// for an empty mask.
    pub(super) fn cut(
        image: &Image,
        mask: &Mask,
        fill: Fill,
        padding: usize,
        size: (usize, usize),
    ) -> Option<(MaskedRegion, Image, Mask)> {
        let [left, top, width, height] = mask.bounds()?;
        let shape = size.0 as f64 / size.1.max(1) as f64;
        let (mut wanted_width, mut wanted_height) = (width + 2 * padding, height + 2 * padding);
        // Wider or higher, until it has the shape in which it is drawn.
        wanted_width = wanted_width.max((wanted_height as f64 * shape).round() as usize);
        wanted_height = wanted_height.max((wanted_width as f64 / shape).round() as usize);
        let (left, width) = around(left, width, wanted_width, image.width);
        let (top, height) = around(top, height, wanted_height, image.height);
        Some(MaskedRegion::of([left, top, width, height], image, mask, fill, padding, size))
    }

    /// The whole image as such a part, which is drawn in another size than its own.
    pub(super) fn whole(
        image: &Image,
        mask: &Mask,
        fill: Fill,
        size: (usize, usize),
    ) -> (MaskedRegion, Image, Mask) {
        MaskedRegion::of([0, 0, image.width, image.height], image, mask, fill, 0, size)
    }

    fn of(
        [left, top, width, height]: [usize; 4],
        image: &Image,
        mask: &Mask,
        fill: Fill,
        padding: usize,
        size: (usize, usize),
    ) -> (MaskedRegion, Image, Mask) {
        let rows = mask.values.chunks_exact(mask.width).skip(top).take(height);
        let values = rows.flat_map(|row| &row[left..left + width]).copied().collect();
        let part = Mask { width, height, values };
        let under = match fill {
            Fill::Original => image.clone(),
            _ => image.with_nearest(mask).expect("sizes were compared"),
        };
        let drawn = image_file::resized(&image.cropped(left, top, width, height), size.0, size.1);
        let region = MaskedRegion { under, mask: mask.clone(), left, top, width, height, padding };
        (region, drawn, image_file::mask_to(&part, size.0, size.1))
    }

    /// The whole image with a part that was drawn in its place, softened at the mask's edge by so many pixels.
    pub(super) fn put_back(&self, part: &Image, mask_blur: f64) -> Result<Image, AppError> {
        let part = image_file::resized(part, self.width, self.height);
        let mut drawn = self.under.clone();
        let rows = drawn.rgb.chunks_exact_mut(3 * drawn.width).skip(self.top);
        for (row, part) in rows.zip(part.rgb.chunks_exact(3 * self.width)) {
            row[3 * self.left..][..part.len()].copy_from_slice(part);
        }
        Ok(self.mask.feathered(mask_blur).compose(&drawn, &self.under)?)
    }

    /// The same part of an image that shows what the whole one does.
    pub(super) fn of_whole(&self, whole: &Image) -> Image {
        let whole = image_file::to_size(whole, (self.under.width, self.under.height), Resize::Crop);
        whole.cropped(self.left, self.top, self.width, self.height)
    }
}

/// A range of `wanted` around another, within `all`: its start and length.
fn around(start: usize, length: usize, wanted: usize, all: usize) -> (usize, usize) {
    let wanted = wanted.clamp(length, all);
    let middle = start + length / 2;
    (middle.saturating_sub(wanted / 2).min(all - wanted), wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_grows_within_bounds() {
        assert_eq!(around(10, 10, 20, 100), (5, 20));
        assert_eq!(around(0, 10, 20, 100), (0, 20));
        assert_eq!(around(95, 5, 20, 100), (80, 20));
        assert_eq!(around(0, 100, 500, 100), (0, 100));
        assert_eq!(around(3, 4, usize::MAX, 9), (0, 9));
    }
}
