//! What is enlarged, by what and how much.

use super::parts::join;
use super::{Enlarger, UpscalePart, scaled};
use crate::metadata::OutputTexts;
use crate::{AppError, image_file};
use latent_diffusion::tensor::Device;
use latent_diffusion::upscaler::MAX_PIXELS;
use latent_diffusion::{Error, Image, Listener};
use serde_json::json;

/// An image that is ready to be enlarged.
#[derive(Debug)]
pub struct UpscalePlan {
    enlarger: Enlarger,
    image: Image,
    scale: f64,
    size: (usize, usize),
}

impl UpscalePlan {
    /// An image that becomes so many times as wide and high; [`Enlarger::own_scale`] when `None`.
    ///
    /// # Errors
    /// Bad input: a factor that is not 1 to 16, an image that becomes too large.
    pub fn new(enlarger: Enlarger, image: Image, scale: Option<f64>) -> Result<UpscalePlan, AppError> {
        let scale = scale.unwrap_or(enlarger.own_scale());
        let size = scaled("scale", (image.width, image.height), scale)?;
        if size.0.saturating_mul(size.1) > MAX_PIXELS {
            let ((width, height), max) = (size, MAX_PIXELS / 1_000_000);
            return Err(AppError::BadInput(format!(
                "scale: {width}x{height} are more than {max} million pixels; give a smaller one"
            )));
        }
        if let Some((file, _)) = &enlarger.network {
            file.config().check(&image)?;
        }
        Ok(UpscalePlan { enlarger, image, scale, size })
    }

    /// What enlarges.
    #[must_use]
    pub fn enlarger(&self) -> &Enlarger {
        &self.enlarger
    }

    /// How many times as wide and high the image becomes.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Bytes of memory that it takes, estimated.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.enlarger.memory(self.image.width, self.image.height)
    }

    /// Enlarges the image on a device.
    ///
    /// # Errors
    /// As [`Enlarger::enlarge`].
    pub fn run(&self, device: &Device, listener: &mut Listener<'_>) -> Result<Image, Error> {
        self.enlarger.enlarge(&self.image, self.size, device, listener)
    }

    /// The texts that say how the enlarged image was made, as the webui does, with their keywords.
    #[must_use]
    pub fn texts(&self) -> OutputTexts {
        let (scale, name) = (self.scale, self.enlarger.name());
        [
            ("postprocessing", format!("Postprocess upscale by: {scale}, Postprocess upscaler: {name}")),
            ("latent", json!({"command": "upscale", "scale": scale, "upscaler": name}).to_string()),
        ]
    }

    /// The parts that several machines may compute beside each other, row by row, each with the pixels that it depends on;
    /// none if the image has one tile.
    ///
    /// # Errors
    /// An image of which a run of the network would make more than [`MAX_PIXELS`].
    pub fn parts(&self) -> Result<Vec<(UpscalePart, Image)>, Error> {
        let parts = self.enlarger.parts((self.image.width, self.image.height), self.size)?;
        let with_pixels = |part: UpscalePart| {
            let seen = self.enlarger.seen(&part)?.cut(&self.image);
            Ok((part, seen))
        };
        parts.into_iter().map(with_pixels).collect()
    }

    /// The enlarged image from all its parts. `part` gives the pixels of one after the other.
    ///
    /// # Errors
    /// As [`UpscalePlan::parts`] and `part`; pixels that are not as many as the part has.
    pub fn joined<E: From<AppError>>(&self, part: impl FnMut(usize) -> Result<Image, E>) -> Result<Image, E> {
        let from = (self.image.width, self.image.height);
        let parts = self.enlarger.parts(from, self.size).map_err(AppError::from)?;
        let large = join(&parts, part)?;
        Ok(image_file::resized(&large, self.size.0, self.size.1))
    }
}
