//! Pixels.

use crate::Error;
use latent_tensor::Tensor;

/// An 8-bit RGB picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`
    pub rgb: Vec<u8>,
}

impl Picture {
    /// The pictures of a tensor `[n, height, width, 3]` of -1..1; values outside are clamped.
    ///
    /// # Errors
    /// A tensor that is no RGB picture.
    pub fn from_tensor(pixels: &Tensor) -> Result<Vec<Picture>, Error> {
        let &[_, height, width, 3] = pixels.dims() else {
            let reason = format!("a tensor {} is no RGB picture", pixels.shape());
            return Err(Error::Setting { name: "picture", reason });
        };
        let byte = |v: &f32| ((v / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        let pictures = pixels.f32s()?.chunks_exact((height * width * 3).max(1));
        Ok(pictures.map(|values| Picture { width, height, rgb: values.iter().map(byte).collect() }).collect())
    }
}
