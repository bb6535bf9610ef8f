//! The specification: a rotation of each pair, in `f64`.

use super::{Rotary, RotaryPairing};

/// `x` rotated by the angles of `table`.
#[must_use]
pub fn rotary(shape: Rotary, x: &[f32], table: &[f32]) -> Vec<f32> {
    let Rotary { heads, width, pairing, .. } = shape;
    let (half, rows) = (width / 2, table.len() / width);
    let mut out = x.to_vec();
    for row in 0..x.len() / (heads * width) {
        let angles = &table[row % rows * width..][..width];
        for head in 0..heads {
            let first = (row * heads + head) * width;
            for i in 0..half {
                let (a, b) = match pairing {
                    RotaryPairing::Interleaved => (first + 2 * i, first + 2 * i + 1),
                    RotaryPairing::Halves => (first + i, first + half + i),
                };
                let (cos, sin) = (f64::from(angles[i]), f64::from(angles[half + i]));
                let (re, im) = (f64::from(x[a]), f64::from(x[b]));
                out[a] = (re * cos - im * sin) as f32;
                out[b] = (re * sin + im * cos) as f32;
            }
        }
    }
    out
}
