//! What SDXL is told about the size of a picture.

/// Sizes that steer SDXL (Podell et al., SDXL, 2023, section 2.2); other models do not look at them. Heights before widths, in
/// pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureSizes {
    /// The size of the picture before it was scaled for training: small ones look blurred. The drawn size when `None`.
    pub original: Option<[usize; 2]>,
    /// Where the picture was cropped, from the top and from the left: 0 keeps things in the middle.
    pub crop: [usize; 2],
    /// The size to draw for. The drawn size when `None`.
    pub target: Option<[usize; 2]>,
}

impl PictureSizes {
    /// The six numbers in the order of the added vector, for a drawn size.
    pub(super) fn values(&self, drawn: [usize; 2]) -> [f32; 6] {
        let (original, target) = (self.original.unwrap_or(drawn), self.target.unwrap_or(drawn));
        let [a, b] = original;
        let [c, d] = self.crop;
        let [e, f] = target;
        [a, b, c, d, e, f].map(|size| size as f32)
    }
}
