//! How the kernel of a convolution walks over an image, on either device.

use super::band::{Band, RowRange};

/// RowRange and columns of zeros around the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Above.
    pub top: usize,
    /// Below.
    pub bottom: usize,
    /// To the left.
    pub left: usize,
    /// To the right.
    pub right: usize,
}

impl Padding {
    /// The same on all four sides.
    #[must_use]
    pub fn all(n: usize) -> Padding {
        Padding { top: n, bottom: n, left: n, right: n }
    }
}

/// A square kernel, its stride, and the padding of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Height and width of the kernel in pixels, at least 1.
    pub kernel: usize,
    /// Pixels from one position of the kernel to the next, at least 1.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: Padding,
}

impl ConvGeometry {
    /// Height and width of the output for an input of `height` x `width`; `None` if the kernel is larger than the padded
    /// input.
    #[must_use]
    pub fn output_size(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        let length =
            |input: usize, pad: usize| Some((input + pad).checked_sub(self.kernel)? / self.stride + 1);
        let Padding { top, bottom, left, right } = self.padding;
        Some((length(height, top + bottom)?, length(width, left + right)?))
    }

    /// Whether each pixel of the output depends on one pixel of the input.
    #[must_use]
    pub fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == Padding::default()
    }

    /// The rows of an image on which some rows of the output depend. The image has `height` rows and is resized to
    /// `to_height` before it is convolved.
    ///
    /// # Panics
    /// If no row is wanted, or the image has none.
    #[must_use]
    pub fn rows_read(&self, [height, to_height]: [usize; 2], wanted: RowRange) -> RowRange {
        assert!(
            wanted.count() > 0 && height > 0 && to_height > 0,
            "{wanted:?} of {height} and {to_height} rows"
        );
        let top = self.padding.top;
        // A band may lie in the padding alone; it still names a row.
        let start = (wanted.start * self.stride).saturating_sub(top).min(to_height - 1);
        let end =
            ((wanted.end - 1) * self.stride + self.kernel).saturating_sub(top).clamp(start + 1, to_height);
        RowRange { start: start * height / to_height, end: (end - 1) * height / to_height + 1 }
    }

    /// Height and width of the output for images `[batch, height, width]` that are first resized, if asked for.
    ///
    /// # Panics
    /// If there is no pixel, or the kernel is larger than the padded input.
    pub(super) fn assert_output_size(&self, images: [usize; 3], resize: Option<[usize; 2]>) -> [usize; 2] {
        let [_, height, width] = images;
        assert!(images.iter().all(|n| *n > 0), "an empty image {images:?}");
        let [height, width] = resize.unwrap_or([height, width]);
        let (height, width) = self.output_size(height, width).expect("a kernel within the padded input");
        [height, width]
    }

    /// # Panics
    /// If a band is not one of an output of `out_height` rows, or needs rows that are not held.
    pub(super) fn assert_band(&self, heights: [usize; 2], out_height: usize, Band { held, wanted }: Band) {
        assert!(held.end <= heights[0], "{held:?} are held of {} rows", heights[0]);
        assert!(wanted.is_band_of(out_height), "{wanted:?} is not a band of {out_height} rows");
        let read = self.rows_read(heights, wanted);
        assert!(held.contains(read), "{wanted:?} depends on {read:?}, but {held:?} is held");
    }
}
