//! Images on the way: what TAESD, or a linear function, makes of the latents that are predicted.

use crate::{AppError, image_file};
use latent_diffusion::taesd::{TaesdDecoder, TaesdFile};
use latent_diffusion::tensor::Device;
use latent_diffusion::{Event, Image, LatentRgb, LatentShape, Latents, Pipeline, Settings};

/// Decodes the last prediction of a run.
pub(super) struct PreviewDecoder {
    interval: usize,
    decoder: Option<TaesdDecoder>,
    rgb: LatentRgb,
    /// One latent.
    shape: LatentShape,
    /// Width and height of an image.
    size: (usize, usize),
}

impl PreviewDecoder {
    /// For the first image of each batch of a run with these settings, every so many steps.
    pub(super) fn new(
        interval: u32,
        taesd: Option<&TaesdFile>,
        settings: &Settings,
        pipeline: &Pipeline,
    ) -> Result<PreviewDecoder, AppError> {
        let model = pipeline.model();
        let room = settings.check(model)?;
        Ok(PreviewDecoder {
            interval: interval as usize,
            decoder: taesd.map(|taesd| taesd.decoder(pipeline.device())).transpose()?,
            rgb: model.family.latent_format.rgb,
            shape: LatentShape { images: 1, ..room },
            size: settings.size(model)?,
        })
    }

    /// The preview of a step, if it is time for one.
    pub(super) fn image(&self, event: &Event<'_>) -> Option<Result<Image, AppError>> {
        let Event::Step { step: step @ 1.., total, denoised, .. } = *event else { return None };
        if !step.is_multiple_of(self.interval) && step != total {
            return None;
        }
        let one = self.shape.image_len();
        Some(self.decode(&self.shape.with_values(denoised[..one.min(denoised.len())].to_vec())))
    }

    fn decode(&self, latents: &Latents) -> Result<Image, AppError> {
        let Some(decoder) = &self.decoder else {
            let small = self.rgb.image(latents, 0)?;
            return Ok(image_file::resized(&small, self.size.0, self.size.1));
        };
        let pixels = decoder.decode(&latents.channels_last(0..1)?)?;
        let pixels = pixels.to(&Device::Cpu).map_err(latent_diffusion::Error::from)?;
        Ok(Image::from_tensor(&pixels)?.swap_remove(0))
    }
}
