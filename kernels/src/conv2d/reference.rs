//! The specification: the sum over taps and channels, in `f64`, in channels-last layout.

use super::Padding;

/// Convolves `x` `[batch, height, width, in]` with `weight` `[out, in, kernel, kernel]`.
#[must_use]
pub fn conv2d(
    x: &[f32],
    [batch, height, width, channels]: [usize; 4],
    weight: &[f32],
    [out_channels, kernel, stride]: [usize; 3],
    padding: Padding,
) -> Vec<f32> {
    let out_height = (height + padding.top + padding.bottom - kernel) / stride + 1;
    let out_width = (width + padding.left + padding.right - kernel) / stride + 1;
    let input = |n: usize, y: usize, x_: usize, c: usize| {
        let (y, x_) = (y.wrapping_sub(padding.top), x_.wrapping_sub(padding.left));
        if y < height && x_ < width { x[((n * height + y) * width + x_) * channels + c] } else { 0.0 }
    };
    let mut out = Vec::with_capacity(batch * out_height * out_width * out_channels);
    for n in 0..batch {
        for oy in 0..out_height {
            for ox in 0..out_width {
                for o in 0..out_channels {
                    let mut sum = 0f64;
                    for ky in 0..kernel {
                        for kx in 0..kernel {
                            for c in 0..channels {
                                let w = weight[((o * channels + c) * kernel + ky) * kernel + kx];
                                sum +=
                                    f64::from(input(n, oy * stride + ky, ox * stride + kx, c)) * f64::from(w);
                            }
                        }
                    }
                    out.push(sum as f32);
                }
            }
        }
    }
    out
}
