//! Resizing images by repeating the nearest pixel.

#[cfg(feature = "gpu")]
pub mod gpu;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::parallel;

/// Resizes `[batch, height, width, channels]` to `[batch, out_height, out_width, channels]`: pixel `i` of a side
/// comes from `floor(i * side / out_side)` (PyTorch's `interpolate` in mode "nearest").
///
/// # Panics
/// If the length of a slice disagrees, or the input has no pixels.
pub fn nearest(
    x: &[f32],
    [batch, height, width, channels]: [usize; 4],
    [out_height, out_width]: [usize; 2],
    out: &mut [f32],
) {
    assert_lengths(x.len(), [batch, height, width, channels], [out_height, out_width], out.len());
    let line = (out_width * channels).max(1);
    parallel::chunks_mut(out, line, |i, out| {
        let (image, y) = (i / out_height, i % out_height * height / out_height);
        let from = &x[(image * height + y) * width * channels..][..width * channels];
        for (column, out) in out.chunks_exact_mut(channels).enumerate() {
            out.copy_from_slice(&from[column * width / out_width * channels..][..channels]);
        }
    });
}

/// Checks the lengths of the arrays, on either device.
fn assert_lengths(
    x: usize,
    [batch, height, width, channels]: [usize; 4],
    [out_height, out_width]: [usize; 2],
    out: usize,
) {
    assert!(height > 0 && width > 0 && channels > 0, "an empty image");
    assert_eq!(x, batch * height * width * channels, "input [{batch}, {height}, {width}, {channels}]");
    assert_eq!(out, batch * out_height * out_width * channels, "output {out_height} x {out_width}");
}
