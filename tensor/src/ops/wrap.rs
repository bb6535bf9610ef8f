//! Images that continue on their other side.

use super::{GroupNorm, Prologue, group_norm_silu, upsample_nearest};
use crate::error::TensorOp;
use crate::{Device, Padding, Tensor, TensorError};

/// An image `[batch, height, width, channels]` after the work of a prologue, continued on all sides by what is on the other.
///
/// A norm is of the image alone, so it comes before.
pub(super) fn continued(
    x: &Tensor,
    prologue: &Prologue<'_, GroupNorm>,
    sides: Padding,
) -> Result<Tensor, TensorError> {
    let normed = prologue.norm_silu.map(|norm| group_norm_silu(x, norm)).transpose()?;
    let x = normed.as_ref().unwrap_or(x);
    let resized = prologue.resize.map(|[height, width]| upsample_nearest(x, height, width)).transpose()?;
    let x = resized.as_ref().unwrap_or(x);
    let [batch, height, width, channels] = x.rank(TensorOp::Conv2d)?;
    if height * width * channels == 0 {
        return Err(TensorError::shape(TensorOp::Conv2d, "an image as large as the kernel", x.shape()));
    }
    let (rows, columns) = (sides.top + height + sides.bottom, sides.left + width + sides.right);
    let mut out = Tensor::zeros(&[batch, rows, columns, channels])?;
    let on_cpu = x.to(&Device::Cpu)?;
    let values = on_cpu.f32s()?;
    // As many whole sizes as the padding may be larger than the image.
    let from = |at: usize, before: usize, size: usize| (at + before * size - before) % size;
    for (at, row) in out.f32s_mut()?.chunks_exact_mut(columns * channels).enumerate() {
        let (image, row_at) = (at / rows, from(at % rows, sides.top, height));
        let line = &values[(image * height + row_at) * width * channels..][..width * channels];
        for (column, pixel) in row.chunks_exact_mut(channels).enumerate() {
            pixel.copy_from_slice(&line[from(column, sides.left, width) * channels..][..channels]);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::{Epilogue, conv2d, conv2d_fused};
    use super::*;
    use crate::{Conv2d, DType, WeightBytes};

    fn layer(outputs: usize, inputs: usize, wraps: [bool; 2]) -> Conv2d {
        let values: Vec<f32> = (0..outputs * inputs * 9).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let weight = WeightBytes::new(DType::F32, &bytes);
        Conv2d::wrapping(weight, [outputs, inputs, 3], 1, Padding::all(1), None, wraps).unwrap()
    }

    fn image(height: usize, width: usize) -> Tensor {
        let values: Vec<f32> = (0..height * width * 2).map(|i| ((i * 13) % 17) as f32 / 8.0).collect();
        Tensor::from_f32(&[1, height, width, 2], &values).unwrap()
    }

    /// The image moved round by so many rows and columns.
    fn moved(x: &Tensor, [down, right]: [usize; 2]) -> Tensor {
        let [_, height, width, channels] = [x.dims()[0], x.dims()[1], x.dims()[2], x.dims()[3]];
        let values = x.f32s().unwrap();
        let pixels = (0..height * width).flat_map(|at| {
            let (row, column) = ((at / width + down) % height, (at % width + right) % width);
            values[(row * width + column) * channels..][..channels].to_vec()
        });
        Tensor::from_f32(x.dims(), &pixels.collect::<Vec<_>>()).unwrap()
    }

    /// What is convolved does not know where the image begins.
    #[test]
    fn a_wrapping_convolution_of_a_moved_image_is_the_moved_convolution() {
        let x = image(7, 10);
        for (wraps, by) in [([true, true], [3, 4]), ([true, false], [3, 0]), ([false, true], [0, 4])] {
            let layer = layer(3, 2, wraps);
            let (whole, of_moved) = (conv2d(&x, &layer).unwrap(), conv2d(&moved(&x, by), &layer).unwrap());
            assert_eq!(moved(&whole, by).f32s().unwrap(), of_moved.f32s().unwrap(), "{wraps:?}");
            let plain = conv2d(&x, &self::layer(3, 2, [false; 2])).unwrap();
            assert_ne!(whole.f32s().unwrap(), plain.f32s().unwrap());
        }
    }

    /// An image of one pixel has itself on every side.
    #[test]
    fn small_images_and_enlarged_ones_wrap_too() {
        let layer = layer(1, 2, [true; 2]);
        let x = image(1, 1);
        let enlarged = conv2d_fused(&x, &layer, Prologue::resize(Some([2, 2])), Epilogue::none()).unwrap();
        let one = conv2d(&x, &layer).unwrap().f32s().unwrap()[0];
        assert!(enlarged.f32s().unwrap().iter().all(|value| (value - one).abs() < 1e-4));
    }
}
