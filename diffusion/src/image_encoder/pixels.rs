//! An image as a CLIP vision encoder sees it (`CLIPImageProcessor`): the shorter side brought to 224 pixels by a bicubic
//! filter as wide as a pixel of the result, the middle cut out, values normalised.

use crate::{Error, Image};
use latent_tensor::Tensor;

/// Pixels along a side of what the published encoders see.
pub const PIXELS: usize = 224;

/// Mean and standard deviation of the values that CLIP was trained on, for each channel.
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
/// Pixels on each side that the bicubic filter reaches.
const REACH: f64 = 2.0;
/// Bits behind the point of the filter's weights, as many as Pillow's have.
const WEIGHT_BITS: u32 = 22;

/// The middle of an image as `[1, side, side, 3]`, normalised.
pub(super) fn normalized(image: &Image, side: usize) -> Result<Tensor, Error> {
    let middle = middle(image, side);
    let values = middle.rgb.iter().enumerate();
    let values = values.map(|(i, byte)| (f32::from(*byte) / 255.0 - MEAN[i % 3]) / DEVIATION[i % 3]);
    Ok(Tensor::from_f32(&[1, side, side, 3], &values.collect::<Vec<_>>())?)
}

/// The middle of an image, after its shorter side was brought to `side`.
fn middle(image: &Image, side: usize) -> Image {
    let (width, height) = (image.width.max(1), image.height.max(1));
    let short = width.min(height);
    let scaled = |length: usize| length * side / short;
    let (left, top) = ((scaled(width) - side) / 2, (scaled(height) - side) / 2);
    let columns = taps(width, scaled(width), left..left + side);
    let rows = taps(height, scaled(height), top..top + side);
    // Bytes between the passes, along rows first, as the authors' library has them.
    let across = weighted(&image.rgb, height, &columns, |x, y| 3 * (y * width + x));
    let rgb = weighted(&across, side, &rows, |y, x| 3 * (y * side + x));
    // The second pass went along columns.
    let turned = (0..side * side).flat_map(|i| {
        let at = 3 * ((i % side) * side + i / side);
        [rgb[at], rgb[at + 1], rgb[at + 2]]
    });
    Image { width: side, height: side, rgb: turned.collect() }
}

/// Where a pixel of the result begins in the original, and the weights of the pixels from there on.
type Taps = (usize, Vec<i64>);

/// The taps of some of the pixels along a side that is scaled from one length to another.
fn taps(from: usize, to: usize, wanted: std::ops::Range<usize>) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let width = scale.max(1.0);
    let of = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let first = (centre - REACH * width + 0.5).max(0.0) as usize;
        let end = ((centre + REACH * width + 0.5) as usize).min(from);
        let weights: Vec<f64> = (first..end).map(|x| bicubic((x as f64 - centre + 0.5) / width)).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: &f64| (weight / sum * (1_i64 << WEIGHT_BITS) as f64).round() as i64;
        (first, weights.iter().map(fixed).collect())
    };
    wanted.map(of).collect()
}

/// Keys' cubic convolution with a = -1/2.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

/// Sums along one side of an image, for each of the `lines` across it: `[lines, taps, 3]`. `place` is where a pixel begins,
/// by its position along the side and its line.
fn weighted(rgb: &[u8], lines: usize, taps: &[Taps], place: impl Fn(usize, usize) -> usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 * lines * taps.len());
    for line in 0..lines {
        for (first, weights) in taps {
            for channel in 0..3 {
                let value = |(i, weight): (usize, &i64)| {
                    i64::from(rgb.get(place(first + i, line) + channel).copied().unwrap_or(0)) * weight
                };
                let sum: i64 = weights.iter().enumerate().map(value).sum();
                let value = (sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
                out.push(value.clamp(0, 255) as u8);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_the_size_stays_and_the_middle_is_seen() {
        let rgb: Vec<u8> = (0..8 * 8 * 3).map(|i| (i * 37 % 256) as u8).collect();
        let image = Image { width: 8, height: 8, rgb };
        assert_eq!(middle(&image, 8), image);
        let wide =
            Image { width: 12, height: 4, rgb: (0..12 * 4 * 3).map(|i| (i * 5 % 256) as u8).collect() };
        assert_eq!(middle(&wide, 4), wide.cropped(4, 0, 4, 4));
    }

    /// Values of Pillow 10 (`Image.resize` with `BICUBIC`) for the same bytes. Its weights are integers, so that halves are now and
    /// then rounded the other way.
    #[test]
    fn it_scales_as_pillow_does() {
        let image = Image { width: 5, height: 5, rgb: (0..75).map(|i| (i * i * 7 % 256) as u8).collect() };
        let small = middle(&image, 3);
        assert_eq!(small.rgb, PILLOW_3);
        let tall = Image { width: 3, height: 5, rgb: (0..45).map(|i| (i * i * 11 % 256) as u8).collect() };
        assert_eq!(middle(&tall, 6).rgb, PILLOW_6);
    }

    const PILLOW_3: [u8; 27] = [
        65, 66, 157, 141, 103, 157, 187, 125, 134, 137, 128, 105, 113, 146, 159, 151, 153, 209, 91, 146, 76,
        50, 183, 162, 162, 226, 161,
    ];
    const PILLOW_6: [u8; 108] = [
        94, 57, 47, 77, 65, 55, 47, 83, 72, 69, 64, 96, 139, 9, 123, 173, 0, 136, 164, 91, 44, 142, 92, 68,
        95, 94, 120, 101, 80, 128, 158, 53, 90, 185, 45, 74, 228, 113, 38, 223, 131, 79, 213, 169, 167, 201,
        186, 159, 191, 180, 53, 186, 178, 7, 207, 140, 36, 218, 151, 68, 240, 173, 138, 236, 197, 135, 206,
        219, 63, 191, 229, 31, 102, 172, 39, 126, 151, 36, 177, 105, 32, 204, 113, 58, 202, 171, 118, 202,
        199, 148, 88, 195, 31, 102, 168, 20, 133, 109, 0, 165, 100, 31, 195, 142, 119, 209, 162, 160,
    ];
}
