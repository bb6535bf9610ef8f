//! Which pixels of an image are redrawn.

use crate::Error;
use crate::image::{Image, Margins};
use crate::schedule::Convention;
use crate::setting::{Setting, SettingProblem};
use std::collections::VecDeque;

/// The smallest value of a mask that diffusers takes for 1.
const DIFFUSERS_THRESHOLD: u8 = 128;
/// A Gaussian is cut off at this many standard deviations, where under 0.3 % are left.
const GAUSSIAN_REACH: f64 = 3.0;

/// A mask over an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width]`: 255 is redrawn, 0 stays as it is, and values between mix both.
    pub values: Vec<u8>,
}

impl Mask {
    /// A mask with the same value everywhere.
    #[must_use]
    pub fn filled(width: usize, height: usize, value: u8) -> Mask {
        Mask { width, height, values: vec![value; width * height] }
    }

    /// The mask with its last values repeated to the right and below until its sides are multiples.
    pub(crate) fn padded_to(&self, multiple: usize) -> Mask {
        let rgb = self.values.iter().flat_map(|value| [*value; 3]).collect();
        let Image { width, height, rgb } =
            Image { width: self.width, height: self.height, rgb }.padded_to(multiple);
        Mask { width, height, values: rgb.into_iter().step_by(3).collect() }
    }

    /// Whether nothing is to be drawn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(|value| *value == 0)
    }

    /// The mask that redraws what this one keeps.
    #[must_use]
    pub fn inverted(mut self) -> Mask {
        self.values.iter_mut().for_each(|value| *value = 255 - *value);
        self
    }

    /// The smallest rectangle around all that is drawn: left, top, width, height.
    #[must_use]
    pub fn bounds(&self) -> Option<[usize; 4]> {
        let rows = self.values.chunks_exact(self.width.max(1));
        let drawn = || rows.clone().enumerate().filter(|(_, row)| row.iter().any(|value| *value > 0));
        let (top, bottom) = (drawn().next()?.0, drawn().next_back()?.0);
        let columns = || drawn().map(|(_, row)| row);
        let left = columns().filter_map(|row| row.iter().position(|value| *value > 0)).min()?;
        let right = columns().filter_map(|row| row.iter().rposition(|value| *value > 0)).max()?;
        Some([left, top, right + 1 - left, bottom + 1 - top])
    }

    /// The mask with a soft edge that rises from 0 inside the edge that it has: nothing that was kept is redrawn. The edge is
    /// made by a Gaussian of this standard deviation in pixels.
    #[must_use]
    pub fn feathered(&self, deviation: f64) -> Mask {
        if deviation <= 0.0 {
            return self.clone();
        }
        let blurred = transposed_blur(&self.values, self.width, deviation);
        let blurred = transposed_blur(&blurred, self.height, deviation);
        // Half of the Gaussian over a straight edge lies on either side: there the new edge begins.
        let rises =
            |(value, blurred): (&u8, u8)| (2 * i32::from(blurred) - 255).clamp(0, (*value).into()) as u8;
        Mask { values: self.values.iter().zip(blurred).map(rises).collect(), ..*self }
    }

    /// Whether a pixel is hidden from the model. diffusers rounds; otherwise all that changes is hidden.
    pub(crate) fn hides(value: u8, convention: Convention) -> bool {
        value >= if convention == Convention::Diffusers { DIFFUSERS_THRESHOLD } else { 1 }
    }

    /// The mask of a latent, 1 where it is drawn. diffusers takes the first pixel of each element; otherwise an element is
    /// drawn if any of its pixels is. Sides must be multiples of `factor`.
    pub(crate) fn of_latent(&self, factor: usize, convention: Convention) -> Vec<f32> {
        let reach = if convention == Convention::Diffusers { 1 } else { factor };
        let is_drawn = |x: usize, y: usize| {
            let mut rows =
                (y * factor..y * factor + reach).map(|y| &self.values[y * self.width..][..self.width]);
            rows.any(|row| {
                row[x * factor..x * factor + reach].iter().any(|value| Mask::hides(*value, convention))
            })
        };
        let (width, height) = (self.width / factor, self.height / factor);
        (0..width * height).map(|i| f32::from(u8::from(is_drawn(i % width, i / width)))).collect()
    }

    /// The mask of each pixel of a latent's elements, `[factor * factor, height, width]`: 1 where it is hidden. Sides must be
    /// multiples of `factor`.
    pub(crate) fn pixels_of_latent(&self, factor: usize, convention: Convention) -> Vec<f32> {
        let (width, height) = (self.width / factor, self.height / factor);
        let value = |i: usize| {
            let (channel, element) = (i / (width * height), i % (width * height));
            let (y, x) =
                (element / width * factor + channel / factor, element % width * factor + channel % factor);
            f32::from(u8::from(Mask::hides(self.values[y * self.width + x], convention)))
        };
        (0..factor * factor * width * height).map(value).collect()
    }

    /// `drawn` where the mask is 255, `under` byte for byte where it is 0, and a mixture for values between.
    ///
    /// # Errors
    /// [`Error::Setting`]: images of another size than the mask's.
    pub fn compose(&self, drawn: &Image, under: &Image) -> Result<Image, Error> {
        self.expect_size_of(drawn)?;
        self.expect_size_of(under)?;
        let mut rgb = under.rgb.clone();
        let pixels = rgb.chunks_exact_mut(3).zip(drawn.rgb.chunks_exact(3));
        for ((under, drawn), weight) in pixels.zip(&self.values) {
            for (under, drawn) in under.iter_mut().zip(drawn) {
                let weight = u32::from(*weight);
                *under =
                    ((u32::from(*drawn) * weight + u32::from(*under) * (255 - weight) + 127) / 255) as u8;
            }
        }
        Ok(Image { rgb, ..*under })
    }

    /// Refuses an image of another size.
    pub(crate) fn expect_size_of(&self, image: &Image) -> Result<(), Error> {
        if (self.width, self.height) == (image.width, image.height) {
            return Ok(());
        }
        let (given, expected) = ([self.width, self.height], [image.width, image.height]);
        Err(Error::setting(Setting::Mask, SettingProblem::SizeMismatch { given, expected }))
    }
}

impl Image {
    /// The image with margins around it, and the mask of what is new. The margins have the nearest colours of the image.
    #[must_use]
    pub fn grown(&self, margins: Margins) -> (Image, Mask) {
        let Margins { left, top, .. } = margins;
        let image = self.extended(margins);
        let mut mask = Mask::filled(image.width, image.height, 255);
        for row in mask.values.chunks_exact_mut(image.width).skip(top).take(self.height) {
            row[left..left + self.width].fill(0);
        }
        (image, mask)
    }

    /// The image with the nearest kept colour wherever the mask is not 0.
    ///
    /// # Errors
    /// [`Error::Setting`]: a mask of another size.
    pub fn with_nearest(&self, mask: &Mask) -> Result<Image, Error> {
        mask.expect_size_of(self)?;
        let mut image = self.clone();
        let mut known: Vec<bool> = mask.values.iter().map(|value| *value == 0).collect();
        // From all kept pixels at once, a step at a time.
        let mut edge: VecDeque<usize> = (0..known.len()).filter(|i| known[*i]).collect();
        while let Some(from) = edge.pop_front() {
            let (x, y) = (from % self.width, from / self.width);
            let neighbours = [
                (x > 0).then(|| from - 1),
                (x + 1 < self.width).then_some(from + 1),
                (y > 0).then(|| from - self.width),
                (y + 1 < self.height).then_some(from + self.width),
            ];
            for to in neighbours.into_iter().flatten().filter(|to| !std::mem::replace(&mut known[*to], true))
            {
                image.rgb.copy_within(3 * from..3 * from + 3, 3 * to);
                edge.push_back(to);
            }
        }
        Ok(image)
    }
}

/// Rows of that width, blurred along the row and transposed. Beyond the ends the last value is repeated.
fn transposed_blur(values: &[u8], width: usize, deviation: f64) -> Vec<u8> {
    let reach = (deviation * GAUSSIAN_REACH).ceil() as usize;
    let weight = |i: usize| (-0.5 * ((i as f64 - reach as f64) / deviation).powi(2)).exp();
    let weights: Vec<f64> = (0..=2 * reach).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    let height = values.len() / width.max(1);
    let mut out = vec![0; values.len()];
    for (y, row) in values.chunks_exact(width.max(1)).enumerate() {
        for x in 0..width {
            let at = |i: usize| f64::from(row[(x + i).saturating_sub(reach).min(width - 1)]);
            let blurred: f64 = weights.iter().enumerate().map(|(i, weight)| weight * at(i)).sum();
            out[x * height + y] = (blurred / sum).round() as u8;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masks() -> impl Strategy<Value = Mask> {
        let grey = prop_oneof![Just(0), Just(255), any::<u8>()];
        (1_usize..24, 1_usize..24).prop_flat_map(move |(width, height)| {
            let values = prop::collection::vec(grey.clone(), width * height);
            values.prop_map(move |values| Mask { width, height, values })
        })
    }

    fn image(mask: &Mask, seed: usize) -> Image {
        let rgb = (0..3 * mask.values.len()).map(|i| ((i + seed) * 97 % 251) as u8).collect();
        Image { width: mask.width, height: mask.height, rgb }
    }

    proptest! {
        #[test]
        fn nothing_outside_the_mask_changes(mask in masks(), deviation in 0.0..6.0_f64) {
            let (drawn, under) = (image(&mask, 5), image(&mask, 0));
            let out = mask.feathered(deviation).compose(&drawn, &under).unwrap();
            for (i, value) in mask.values.iter().enumerate() {
                if *value == 0 {
                    prop_assert_eq!(&out.rgb[3 * i..3 * i + 3], &under.rgb[3 * i..3 * i + 3]);
                }
            }
        }

        #[test]
        fn every_drawn_pixel_is_in_the_bounds_and_in_a_drawn_element(mask in masks()) {
            let bounds = mask.bounds();
            prop_assert_eq!(bounds.is_none(), mask.is_empty());
            let padded = mask.padded_to(8);
            let latent = padded.of_latent(8, Convention::KDiffusion);
            for i in (0..mask.values.len()).filter(|i| mask.values[*i] > 0) {
                let (x, y) = (i % mask.width, i / mask.width);
                let [left, top, width, height] = bounds.unwrap();
                prop_assert!((left..left + width).contains(&x) && (top..top + height).contains(&y));
                prop_assert_eq!(latent[y / 8 * (padded.width / 8) + x / 8], 1.0);
            }
        }
    }

    #[test]
    fn a_feathered_edge_rises_inside() {
        let mut mask = Mask::filled(40, 3, 0);
        mask.values.chunks_exact_mut(40).for_each(|row| row[20..].fill(255));
        let row = &mask.feathered(4.0).values[40..80];
        assert!(row[..20].iter().all(|v| *v == 0) && row[20] < 64 && row[39] == 255, "{row:?}");
        assert!(row.windows(2).all(|pair| pair[0] <= pair[1]), "{row:?}");
        // At the image's own edge there is nothing to mix with.
        assert_eq!(Mask::filled(5, 5, 255).feathered(9.0), Mask::filled(5, 5, 255));
    }

    #[test]
    fn where_all_is_drawn_the_drawn_image_remains() {
        let mask = Mask::filled(7, 5, 255);
        let (drawn, under) = (image(&mask, 5), image(&mask, 0));
        assert_eq!(mask.compose(&drawn, &under).unwrap(), drawn);
        assert_eq!(mask.inverted().compose(&drawn, &under).unwrap(), under);
    }

    #[test]
    fn diffusers_looks_at_the_first_pixel_alone() {
        let mut mask = Mask::filled(8, 8, 255);
        mask.values[0] = 127;
        assert_eq!(mask.of_latent(8, Convention::Diffusers), [0.0]);
        assert_eq!(mask.of_latent(8, Convention::KDiffusion), [1.0]);
        assert_eq!(mask.inverted().of_latent(8, Convention::Diffusers), [1.0]);
    }

    #[test]
    fn sizes_must_agree() {
        let image = image(&Mask::filled(4, 4, 0), 0);
        assert!(Mask::filled(4, 5, 255).compose(&image, &image).is_err());
    }
}
