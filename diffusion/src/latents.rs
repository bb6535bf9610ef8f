//! Latents in main memory.

use crate::Error;
use crate::setting::Setting;
use latent_tensor::{Device, Tensor};

/// The shape of latents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatentShape {
    /// Number of images.
    pub images: usize,
    /// Channels of a latent.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl LatentShape {
    /// The shape of latents in a tensor `[images, height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Setting`]: a tensor of another rank.
    pub fn of(x: &Tensor) -> Result<LatentShape, Error> {
        let &[images, height, width, channels] = x.dims() else {
            let reason = format!("a tensor {} is not a batch of latents", x.shape());
            return Err(Error::setting(Setting::Latents, reason));
        };
        Ok(LatentShape { images, channels, height, width })
    }

    /// Values of one image.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Values of all images.
    #[must_use]
    pub fn values(&self) -> usize {
        self.images * self.image_len()
    }

    /// Latents of this shape with zeros.
    #[must_use]
    pub fn zeros(self) -> Latents {
        self.with_values(vec![0.0; self.values()])
    }

    /// Latents of this shape with these values, in the order of [`Latents::values`].
    #[must_use]
    pub fn with_values(self, values: Vec<f32>) -> Latents {
        let LatentShape { images, channels, height, width } = self;
        Latents { values, images, channels, height, width }
    }
}

/// Latents of some images.
#[derive(Clone, Debug, PartialEq)]
pub struct Latents {
    /// `[images, channels, height, width]`, the order in which random numbers are drawn.
    pub values: Vec<f32>,
    /// Number of images.
    pub images: usize,
    /// Channels of a latent.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Latents {
    /// Zeros.
    #[must_use]
    pub fn zeros(images: usize, channels: usize, height: usize, width: usize) -> Latents {
        LatentShape { images, channels, height, width }.zeros()
    }

    /// Their shape.
    #[must_use]
    pub fn shape(&self) -> LatentShape {
        let Latents { images, channels, height, width, .. } = *self;
        LatentShape { images, channels, height, width }
    }

    /// Latents of a tensor `[images, height, width, channels]`. A GPU is waited for.
    ///
    /// # Errors
    /// [`Error::Setting`]: a tensor of another rank; a lost GPU.
    pub fn from_channels_last(x: &Tensor) -> Result<Latents, Error> {
        let (shape, x) = (LatentShape::of(x)?, x.to(&Device::Cpu)?);
        let LatentShape { channels, height, width, .. } = shape;
        let (area, mut out) = (height * width, shape.zeros());
        let from = x.f32s()?.chunks_exact((area * channels).max(1));
        for (from, to) in from.zip(out.values.chunks_exact_mut((area * channels).max(1))) {
            for (pixel, values) in from.chunks_exact(channels).enumerate() {
                for (channel, value) in values.iter().enumerate() {
                    to[channel * area + pixel] = *value;
                }
            }
        }
        Ok(out)
    }

    /// The values of one image.
    ///
    /// # Panics
    /// If it does not exist.
    #[must_use]
    pub fn image(&self, image: usize) -> &[f32] {
        let len = self.shape().image_len();
        &self.values[image * len..][..len]
    }

    /// Resized to a height and width, each value interpolated from its four neighbours (`torch.nn.functional.interpolate`
    /// with `mode="bilinear"`).
    #[must_use]
    pub fn bilinear(&self, [height, width]: [usize; 2]) -> Latents {
        let between = |to: usize, from: usize| {
            move |i: usize| {
                // Centres of elements are aligned.
                let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
                let low = (at as usize).min(from - 1);
                (low, (low + 1).min(from - 1), (at - low as f64) as f32)
            }
        };
        let rows: Vec<_> = (0..height).map(between(height, self.height)).collect();
        let columns: Vec<_> = (0..width).map(between(width, self.width)).collect();
        self.resized([height, width], |plane, y, x| {
            let ((top, bottom, down), (left, right, across)) = (rows[y], columns[x]);
            let at = |y: usize, x: usize| plane[y * self.width + x];
            let row = |y: usize| at(y, left) + across * (at(y, right) - at(y, left));
            row(top) + down * (row(bottom) - row(top))
        })
    }

    /// Resized to a height and width, each value that of the element that it is in (`mode="nearest"`).
    #[must_use]
    pub fn nearest(&self, [height, width]: [usize; 2]) -> Latents {
        self.resized([height, width], |plane, y, x| {
            plane[y * self.height / height * self.width + x * self.width / width]
        })
    }

    /// Each plane computed from its old values.
    fn resized(&self, [height, width]: [usize; 2], value: impl Fn(&[f32], usize, usize) -> f32) -> Latents {
        let mut values = Vec::with_capacity(self.images * self.channels * height * width);
        for plane in self.values.chunks_exact((self.height * self.width).max(1)) {
            for y in 0..height {
                values.extend((0..width).map(|x| value(plane, y, x)));
            }
        }
        Latents { values, height, width, ..*self }
    }

    /// All images as a tensor `[images, height, width, channels]` of `f32` on a device.
    ///
    /// # Errors
    /// No memory there, a lost GPU.
    pub fn to_tensor(&self, device: &Device) -> Result<Tensor, Error> {
        Ok(self.channels_last(0..self.images)?.to(&device.in_f32())?)
    }

    /// Some of the images as a tensor `[n, height, width, channels]` in main memory.
    ///
    /// # Errors
    /// None for images that exist.
    pub fn channels_last(&self, images: std::ops::Range<usize>) -> Result<Tensor, Error> {
        let (area, channels) = (self.height * self.width, self.channels);
        let mut out = Tensor::zeros(&[images.len(), self.height, self.width, channels])?;
        let from = self.values[images.start * channels * area..].chunks_exact((channels * area).max(1));
        for (from, to) in from.zip(out.f32s_mut()?.chunks_exact_mut((channels * area).max(1))) {
            for (pixel, to) in to.chunks_exact_mut(channels).enumerate() {
                for (channel, to) in to.iter_mut().enumerate() {
                    *to = from[channel * area + pixel];
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Latents {
        Latents { values: vec![0.0, 1.0, 2.0, 3.0, 10.0, 11.0], ..Latents::zeros(1, 1, 2, 3) }
    }

    /// Values of PyTorch.
    #[test]
    fn resized_as_pytorch_does() {
        let nearest = ramp().nearest([3, 6]);
        let row = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0];
        assert_eq!(nearest.values[..12], [row, row].concat());
        assert_eq!(nearest.values[12..], [3.0, 3.0, 10.0, 10.0, 11.0, 11.0]);
        let bilinear = ramp().bilinear([4, 6]);
        assert_eq!((bilinear.height, bilinear.width), (4, 6));
        assert_eq!(bilinear.values[..6], [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]);
        // A quarter of the way from the first row to the second.
        assert_eq!(bilinear.values[6..9], [0.75, 1.375, 2.625]);
        assert_eq!(bilinear.values[18..], [3.0, 4.75, 8.25, 10.25, 10.75, 11.0]);
        assert_eq!(ramp().bilinear([2, 3]), ramp());
        assert_eq!(ramp().nearest([2, 3]), ramp());
    }
}
