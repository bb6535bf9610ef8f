//! Squares of pixels as the channels of one (`torch.nn.PixelUnshuffle`), and back (`torch.nn.PixelShuffle`).

use crate::Error;
use latent_tensor::Tensor;

/// `[1, height, width, channels]` to `[1, height / side, width / side, channels side side]`: for each channel, the pixels of a
/// square row by row.
pub(super) fn unshuffle(x: &Tensor, side: usize) -> Result<Tensor, Error> {
    let &[batch, height, width, channels] = x.dims() else {
        let reason = format!("a tensor {} is not an image", x.shape());
        return Err(Error::setting(crate::Setting::Image, reason));
    };
    if batch != 1 || height == 0 || width == 0 || !height.is_multiple_of(side) || !width.is_multiple_of(side)
    {
        let reason = format!("{width}x{height} pixels are not whole squares of {side}x{side}");
        return Err(Error::setting(crate::Setting::Image, reason));
    }
    if side == 1 {
        return Ok(x.clone());
    }
    let (rows, columns) = (height / side, width / side);
    let from = x.f32s()?;
    let mut values = Vec::with_capacity(from.len());
    for row in 0..rows {
        for column in 0..columns {
            for channel in 0..channels {
                for y in side * row..side * (row + 1) {
                    let squares = side * column..side * (column + 1);
                    values.extend(squares.map(|x| from[(y * width + x) * channels + channel]));
                }
            }
        }
    }
    Ok(Tensor::from_f32(&[1, rows, columns, channels * side * side], &values)?)
}

/// `[1, height, width, channels side side]` in main memory to `[1, side height, side width, channels]`: the inverse of
/// [`unshuffle`].
pub(super) fn shuffle(x: &Tensor, side: usize) -> Result<Tensor, Error> {
    let &[1, height, width, all] = x.dims() else {
        let reason = format!("a tensor {} is not an image", x.shape());
        return Err(Error::setting(crate::Setting::Image, reason));
    };
    let channels = all / (side * side);
    let from = x.f32s()?;
    let mut values = Vec::with_capacity(from.len());
    for y in 0..side * height {
        let row = &from[y / side * width * all..][..width * all];
        for pixel in row.chunks_exact(all) {
            for at in y % side * side..(y % side + 1) * side {
                values.extend((0..channels).map(|channel| pixel[channel * side * side + at]));
            }
        }
    }
    Ok(Tensor::from_f32(&[1, side * height, side * width, channels], &values)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_becomes_channels() {
        // Two channels, the second a hundred more than the first.
        let values: Vec<f32> = (0..8).flat_map(|i| [i as f32, 100.0 + i as f32]).collect();
        let x = Tensor::from_f32(&[1, 2, 4, 2], &values).unwrap();
        let out = unshuffle(&x, 2).unwrap();
        assert_eq!(out.dims(), [1, 1, 2, 8]);
        let first = [0.0, 1.0, 4.0, 5.0, 100.0, 101.0, 104.0, 105.0];
        assert_eq!(out.f32s().unwrap()[..8], first);
        assert_eq!(out.f32s().unwrap()[8..], first.map(|v| v + 2.0));
        assert!(unshuffle(&x, 4).is_err());
        let back = shuffle(&out, 2).unwrap();
        assert_eq!((back.dims(), back.f32s().unwrap()), (x.dims(), &values[..]));
    }
}
