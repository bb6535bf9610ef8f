//! The opacity of an image that a part of is drawn anew: all else keeps it.

use latent_diffusion::{Image, Margins, Mask};

/// An image with transparent parts, and what of it is drawn.
#[derive(Debug)]
pub(super) struct KeptOpacity {
    /// The colours of all pixels, those of transparent ones too.
    image: Image,
    /// How opaque each pixel is.
    alpha: Vec<u8>,
    /// How much of each pixel is drawn, with the soft edge.
    mask: Mask,
    /// Whether the drawn image was composed with the given one on white, and not with its colours.
    is_on_white: bool,
}

impl KeptOpacity {
    /// What an image of such opacity keeps of it under a mask that was softened; `None` where all that is kept is opaque.
    pub(super) fn of(image: Image, alpha: Vec<u8>, mask: Mask, is_on_white: bool) -> Option<KeptOpacity> {
        let is_seen = alpha.iter().zip(&mask.values).any(|(alpha, drawn)| *alpha < 255 && *drawn < 255);
        is_seen.then_some(KeptOpacity { image, alpha, mask, is_on_white })
    }

    /// The opacity of an image that grows: what is new is opaque.
    pub(super) fn grown(alpha: Vec<u8>, (width, height): (usize, usize), margins: Margins) -> Vec<u8> {
        let Margins { left, right, top, bottom } = margins;
        let whole = left + width + right;
        let mut grown = vec![255; whole * (top + height + bottom)];
        for (row, alpha) in grown.chunks_exact_mut(whole).skip(top).zip(alpha.chunks_exact(width)) {
            row[left..left + width].copy_from_slice(alpha);
        }
        grown
    }

    /// The pixels of a drawn image with their opacity, `[height, width, 4]`: byte for byte those of the given image where
    /// nothing is drawn.
    pub(super) fn rgba(&self, drawn: &Image) -> Vec<u8> {
        let given = self.image.rgb.chunks_exact(3).zip(&self.alpha);
        let pixels = drawn.rgb.chunks_exact(3).zip(given).zip(&self.mask.values);
        pixels
            .flat_map(|((drawn, (under, alpha)), weight)| {
                if *weight == 0 {
                    return [under[0], under[1], under[2], *alpha];
                }
                let (alpha, weight) = (u32::from(*alpha), u32::from(*weight));
                let opacity = weight + (alpha * (255 - weight) + 127) / 255;
                let bare = |value: u8| {
                    if !self.is_on_white || opacity == 0 {
                        return value;
                    }
                    // Without the white that shines through.
                    let own = u32::from(value).saturating_sub(255 - opacity);
                    ((own * 255 + opacity / 2) / opacity).min(255) as u8
                };
                [bare(drawn[0]), bare(drawn[1]), bare(drawn[2]), opacity as u8]
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_drawn_keeps_its_bytes_and_what_is_drawn_is_opaque() {
        let image = |rgb: &[u8]| Image { width: 3, height: 1, rgb: rgb.to_vec() };
        let mask = Mask { width: 3, height: 1, values: vec![0, 255, 128] };
        let given = image(&[1, 2, 3, 4, 5, 6, 0, 0, 0]);
        let kept = KeptOpacity::of(given.clone(), vec![7, 0, 0], mask.clone(), true).unwrap();
        // The last pixel is half of black, over white.
        let rgba = kept.rgba(&image(&[250, 250, 250, 9, 8, 7, 127, 127, 127]));
        assert_eq!(rgba, [1, 2, 3, 7, 9, 8, 7, 255, 0, 0, 0, 128]);
        assert!(KeptOpacity::of(given.clone(), vec![255, 0, 255], mask.clone(), true).is_none());
        assert!(KeptOpacity::of(given, vec![255; 3], mask, true).is_none());
    }

    #[test]
    fn what_an_image_grows_by_is_opaque() {
        let margins = Margins { left: 1, top: 1, ..Margins::default() };
        assert_eq!(KeptOpacity::grown(vec![1, 2], (2, 1), margins), [255, 255, 255, 255, 1, 2]);
    }
}
