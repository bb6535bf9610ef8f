//! Images on the way: what TAESD, or a linear function, makes of the latents that are predicted.

use crate::{AppError, image_file};
use latent_diffusion::taesd::{TaesdDecoder, TaesdFile};
use latent_diffusion::tensor::{Device, Tensor, ops};
use latent_diffusion::{Event, Image, LatentRgb, Latents, Pipeline, Settings};

/// Decodes the last prediction of a run.
pub(super) struct PreviewDecoder {
    interval: usize,
    decoder: Option<TaesdDecoder>,
    rgb: LatentRgb,
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
        Ok(PreviewDecoder {
            interval: interval as usize,
            decoder: taesd.map(|taesd| taesd.decoder(pipeline.device())).transpose()?,
            rgb: model.family.latent_format.rgb,
            size: settings.size(model)?,
        })
    }

    /// The preview of a step, if it is time for one.
    pub(super) fn image(&self, event: &Event<'_>) -> Option<Result<Image, AppError>> {
        let Event::Step { step: step @ 1.., total, denoised: Some(denoised), .. } = *event else {
            return None;
        };
        if !step.is_multiple_of(self.interval) && step != total {
            return None;
        }
        Some(self.decode(denoised))
    }

    fn decode(&self, latents: &Tensor) -> Result<Image, AppError> {
        let first = ops::index_select(latents, &[0]).map_err(latent_diffusion::Error::from)?;
        let Some(decoder) = &self.decoder else {
            let small = self.rgb.image(&Latents::from_channels_last(&first)?, 0)?;
            return Ok(image_file::resized(&small, self.size.0, self.size.1));
        };
        let pixels = decoder.decode(&first)?.to(&Device::Cpu).map_err(latent_diffusion::Error::from)?;
        Ok(Image::from_tensor(&pixels)?.swap_remove(0))
    }
}
