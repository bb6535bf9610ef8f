//! What SDXL is told about the size of an image.

/// Sizes that steer SDXL (Podell et al., SDXL, 2023, section 2.2); other models do not look at them. Heights before widths, in
/// pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeConditioning {
    /// The size of the image before it was scaled for training: small ones look blurred. The drawn size when `None`.
    pub original: Option<[usize; 2]>,
    /// Where the image was cropped, from the top and from the left: 0 keeps things in the middle.
    pub crop: [usize; 2],
    /// The size to draw for. The drawn size when `None`.
    pub target: Option<[usize; 2]>,
}

impl SizeConditioning {
    /// The numbers in the order of the added vector, for a drawn size. An aesthetic score stands in place of the target
    /// (the refiner).
    pub(super) fn values(&self, drawn: [usize; 2], score: Option<f64>) -> Vec<f32> {
        let [height, width] = self.original.unwrap_or(drawn);
        let [top, left] = self.crop;
        let target = self.target.unwrap_or(drawn);
        let sizes = [height, width, top, left].into_iter();
        match score {
            Some(score) => sizes.map(|size| size as f32).chain([score as f32]).collect(),
            None => sizes.chain(target).map(|size| size as f32).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_come_first_and_a_score_stands_for_the_target() {
        let sizes = SizeConditioning { original: None, crop: [3, 4], target: Some([5, 6]) };
        assert_eq!(sizes.values([1, 2], None), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(sizes.values([1, 2], Some(2.5)), [1.0, 2.0, 3.0, 4.0, 2.5]);
    }
}
