//! The convolution as a product whose rows are found in the picture.

use super::{ConvWeight, Fused};
use crate::elementwise::add_per_channel;
use crate::gemm::blocking::{Factor, Rows, product};
use crate::group_norm;
use crate::simd::Isa;
use crate::upsample::nearest;

pub(super) fn conv2d(isa: Isa, conv: &Fused<'_>, weight: &ConvWeight, out: &mut [f32]) {
    let channels = weight.in_channels();
    let [batch, height, width] = conv.size();
    let prepared = prepare(isa, conv, channels);
    let x = prepared.as_deref().unwrap_or(conv.x);
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
    let outputs = weight.out_channels();
    let one_bias = conv.bias.filter(|bias| bias.len() == outputs);
    let &Fused { residual, accumulate, .. } = conv;
    let factor = Factor { weight: &weight.matrix, bias: one_bias, residual, accumulate, gated: false, out };
    product(isa, &pixels, rows, &mut [factor]);
    if let (None, Some(bias)) = (one_bias, conv.bias) {
        add_per_channel(out, bias, batch, outputs);
    }
}

/// The input normalised and resized, if it is to be.
fn prepare(isa: Isa, conv: &Fused<'_>, channels: usize) -> Option<Vec<f32>> {
    let [batch, height, width] = conv.shape;
    let normalised = conv.norm.map(|norm| {
        let mut out = vec![0.0; conv.x.len()];
        group_norm::apply_with(isa, conv.x, &norm, &mut out);
        out
    });
    let Some(size) = conv.resize else { return normalised };
    let mut out = vec![0.0; batch * size[0] * size[1] * channels];
    nearest(normalised.as_deref().unwrap_or(conv.x), [batch, height, width, channels], size, &mut out);
    Some(out)
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
