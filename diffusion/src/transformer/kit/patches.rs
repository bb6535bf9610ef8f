//! Images as sequences of patches, and back. On any device: both are copies of parts of rows.

use super::tokens::sequence_dims;
use crate::Error;
use latent_tensor::{Tensor, ops};

/// The patches of images, row by row: `[batch, height, width, channels]` to
/// `[batch, height / patch * width / patch, patch * patch * channels]`. The pixels of a patch are in the order of the image.
///
/// Height and width are multiples of `patch`.
pub(crate) fn patchify(x: &Tensor, patch: usize) -> Result<Tensor, Error> {
    let &[batch, height, width, channels] = x.dims() else { unreachable!("networks check their input") };
    let (rows, columns) = (height / patch, width / patch);
    let line = width * channels;
    let bands = x.clone().reshape(&[batch * rows, patch * line])?;
    let of = |i: usize| {
        let pixels = ops::slice_channels(&bands, i * line..(i + 1) * line)?;
        pixels.reshape(&[batch * rows * columns, patch * channels])
    };
    let mut patches = of(0)?;
    for i in 1..patch {
        patches = ops::concat_channels(&patches, &of(i)?)?;
    }
    Ok(patches.reshape(&[batch, rows * columns, patch * patch * channels])?)
}

/// The images of patches: the inverse of [`patchify`], of images of `[height, width]`.
pub(crate) fn unpatchify(x: &Tensor, [height, width]: [usize; 2], patch: usize) -> Result<Tensor, Error> {
    let [batch, _, values] = sequence_dims(x);
    let (rows, columns) = (height / patch, width / patch);
    let line = values / patch;
    let patches = x.clone().reshape(&[batch * rows * columns, values])?;
    let of = |i: usize| {
        let pixels = ops::slice_channels(&patches, i * line..(i + 1) * line)?;
        pixels.reshape(&[batch * rows, columns * line])
    };
    let mut bands = of(0)?;
    for i in 1..patch {
        bands = ops::concat_channels(&bands, &of(i)?)?;
    }
    Ok(bands.reshape(&[batch, height, width, line / patch])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_rows_of_pixels() {
        // Two images of 4 x 6 pixels with two channels.
        let values: Vec<f32> = (0..2u8 * 4 * 6 * 2).map(f32::from).collect();
        let x = Tensor::from_f32(&[2, 4, 6, 2], &values).unwrap();
        let patches = patchify(&x, 2).unwrap();
        assert_eq!(patches.dims(), [2, 6, 8]);
        let second = &patches.f32s().unwrap()[8..16];
        assert_eq!(second, [4., 5., 6., 7., 16., 17., 18., 19.], "columns 2 and 3 of rows 0 and 1");
        let back = unpatchify(&patches, [4, 6], 2).unwrap();
        assert_eq!((back.dims(), back.f32s().unwrap()), (x.dims(), x.f32s().unwrap()));
        assert_eq!(patchify(&x, 1).unwrap().f32s().unwrap(), x.f32s().unwrap());
    }
}
