//! The convolution as a product whose rows are found in the picture.

use super::PackedConv;
use crate::gemm::blocking::{Epilogue, Rows, product};
use crate::simd::Isa;

pub(super) fn conv2d(
    isa: Isa,
    x: &[f32],
    [batch, height, width]: [usize; 3],
    weight: &PackedConv,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    out: &mut [f32],
) {
    let channels = weight.in_channels();
    let (out_height, out_width) =
        weight.output_size(height, width).expect("a kernel within the padded input");
    let pixels = Pixels {
        x,
        zeros: &vec![0.0; channels],
        height,
        width,
        channels,
        out_height,
        out_width,
        kernel: weight.kernel,
        stride: weight.stride,
        top: weight.padding.top,
        left: weight.padding.left,
    };
    let rows = batch * out_height * out_width;
    product(isa, &pixels, rows, &weight.matrix, Epilogue { bias, residual }, out);
}

/// Row `(picture, y, x)` of the unrolled picture; its segments are the taps.
struct Pixels<'a> {
    x: &'a [f32],
    zeros: &'a [f32],
    height: usize,
    width: usize,
    channels: usize,
    out_height: usize,
    out_width: usize,
    kernel: usize,
    stride: usize,
    top: usize,
    left: usize,
}

// SAFETY: `pointer` slices the picture or the zeros, so it is valid for one pixel's channels, or panics.
unsafe impl Rows for Pixels<'_> {
    fn segments(&self) -> usize {
        self.kernel * self.kernel
    }
    fn segment_len(&self) -> usize {
        self.channels
    }
    #[inline]
    fn pointer(&self, row: usize, tap: usize) -> *const f32 {
        let (line, column) = (row / self.out_width, row % self.out_width);
        let (picture, line) = (line / self.out_height, line % self.out_height);
        // Above or left of the picture these wrap to huge values, and fail the comparison like those below or right.
        let y = (line * self.stride + tap / self.kernel).wrapping_sub(self.top);
        let x = (column * self.stride + tap % self.kernel).wrapping_sub(self.left);
        if y < self.height && x < self.width {
            let pixel = (picture * self.height + y) * self.width + x;
            self.x[pixel * self.channels..][..self.channels].as_ptr()
        } else {
            self.zeros.as_ptr()
        }
    }
}
