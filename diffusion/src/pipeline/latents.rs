//! Latents in main memory.

use crate::Error;
use latent_tensor::Tensor;

/// Latents of some pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Latents {
    /// `[pictures, channels, height, width]`, the order in which random numbers are drawn.
    pub values: Vec<f32>,
    /// Number of pictures.
    pub pictures: usize,
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
    pub fn zeros(pictures: usize, channels: usize, height: usize, width: usize) -> Latents {
        Latents { values: vec![0.0; pictures * channels * height * width], pictures, channels, height, width }
    }

    /// Latents of a tensor `[n, height, width, channels]` in main memory.
    ///
    /// # Errors
    /// A tensor of another rank.
    pub fn from_channels_last(x: &Tensor) -> Result<Latents, Error> {
        let &[pictures, height, width, channels] = x.dims() else {
            let reason = format!("a tensor {} is no picture", x.shape());
            return Err(Error::Setting { name: "latents", reason });
        };
        let (area, mut out) = (height * width, Latents::zeros(pictures, channels, height, width));
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

    /// The values of one picture.
    ///
    /// # Panics
    /// If it does not exist.
    #[must_use]
    pub fn picture(&self, picture: usize) -> &[f32] {
        let len = self.channels * self.height * self.width;
        &self.values[picture * len..][..len]
    }

    /// Some of the pictures as a tensor `[n, height, width, channels]`.
    ///
    /// # Errors
    /// None for pictures that exist.
    pub fn channels_last(&self, pictures: std::ops::Range<usize>) -> Result<Tensor, Error> {
        let (area, channels) = (self.height * self.width, self.channels);
        let mut out = Tensor::zeros(&[pictures.len(), self.height, self.width, channels])?;
        let from = self.values[pictures.start * channels * area..].chunks_exact((channels * area).max(1));
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
