//! The convolution as a product whose rows are the pixels of the input, seen through a resize if there is one.

use super::{ConvWeight, Convolution, RowRange};
use crate::Precision;
use crate::elementwise::add_per_channel;
use crate::gemm::factor::{Factor, FactorEnd};
use crate::gemm::lhs::LhsRows;
use crate::gemm::product_in;
use crate::group_norm;
use crate::simd::Isa;

pub(super) fn conv2d(isa: Isa, conv: &Convolution<'_>, weight: &ConvWeight, out: &mut [f32]) {
    let normalised = conv.norm.map(|norm| {
        let mut out = vec![0.0; conv.x.len()];
        group_norm::apply_with(isa, conv.x, &norm, &mut out);
        out
    });
    let [batch, height, width] = conv.size();
    let (wanted, out_width) = conv.wanted(weight);
    let pixels = Pixels {
        input: &Convolution { x: normalised.as_deref().unwrap_or(conv.x), ..*conv },
        zeros: &vec![0.0; weight.in_channels()],
        height,
        width,
        wanted,
        out_width,
        kernel: weight.geometry.kernel,
        stride: weight.geometry.stride,
        top: weight.geometry.padding.top,
        left: weight.geometry.padding.left,
    };
    let rows = batch * wanted.count() * out_width;
    let outputs = weight.out_channels();
    let one_bias = conv.bias.filter(|bias| bias.len() == outputs);
    // A residual is what the output holds before: the result is the same, bit for bit, whether it is written over it or beside it.
    let beside = conv.residual.filter(|_| !conv.accumulate);
    if let Some(residual) = beside {
        out.copy_from_slice(residual);
    }
    let factor = Factor {
        weight: &weight.matrix,
        bias: one_bias,
        residual: conv.residual.filter(|_| conv.accumulate),
        accumulate: conv.accumulate || beside.is_some(),
        end: FactorEnd::Sums,
        out,
    };
    let precision = match conv.precision {
        // Blocks of 8-bit values are along the channels of one tap.
        Precision::Int8 if weight.geometry.kernel > 1 => Precision::F32,
        precision => precision,
    };
    product_in(precision, isa, &pixels, rows, &mut [factor]);
    if let (None, Some(bias)) = (one_bias, conv.bias) {
        add_per_channel(out, bias, batch, outputs);
    }
}

/// Row `(image, y, x)` of the unrolled input; its segments are the taps.
struct Pixels<'a> {
    /// Already normalised.
    input: &'a Convolution<'a>,
    zeros: &'a [f32],
    height: usize,
    width: usize,
    wanted: RowRange,
    out_width: usize,
    kernel: usize,
    stride: usize,
    top: usize,
    left: usize,
}

// SAFETY: `pointer` slices the input or the zeros, so it is valid for one pixel's channels, or panics.
unsafe impl LhsRows for Pixels<'_> {
    fn segments(&self) -> usize {
        self.kernel * self.kernel
    }
    fn segment_len(&self) -> usize {
        self.zeros.len()
    }
    #[inline]
    fn pointer(&self, row: usize, tap: usize) -> *const f32 {
        let (line, column) = (row / self.out_width, row % self.out_width);
        let (image, line) = (line / self.wanted.count(), self.wanted.start + line % self.wanted.count());
        // Above or left of the image these wrap to huge values, and fail the comparison like those below or right.
        let y = (line * self.stride + tap / self.kernel).wrapping_sub(self.top);
        let x = (column * self.stride + tap % self.kernel).wrapping_sub(self.left);
        if y < self.height && x < self.width {
            self.input.pixel(image, y, x).as_ptr()
        } else {
            self.zeros.as_ptr()
        }
    }
}
