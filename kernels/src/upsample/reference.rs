//! The specification, by index.

/// [`super::nearest`], to a new vector.
#[must_use]
pub fn nearest(
    x: &[f32],
    [batch, height, width, channels]: [usize; 4],
    [out_height, out_width]: [usize; 2],
) -> Vec<f32> {
    let mut out = Vec::new();
    for n in 0..batch {
        for y in 0..out_height {
            for column in 0..out_width {
                for c in 0..channels {
                    let (sy, sx) = (y * height / out_height, column * width / out_width);
                    out.push(x[((n * height + sy) * width + sx) * channels + c]);
                }
            }
        }
    }
    out
}
