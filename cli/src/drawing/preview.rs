//! Images on the way: what TAESD, or a linear function, makes of the latents that are predicted.

use super::Fact;
use crate::args::PreviewArgs;
use crate::image_file;
use crate::output::Output;
use crate::terminal::Terminal;
use latent_app::AppError;
use latent_app::models;
use latent_diffusion::taesd::{TaesdDecoder, TaesdFile};
use latent_diffusion::tensor::Device;
use latent_diffusion::{Event, Image, LatentRgb, LatentShape, Latents, Pipeline, Settings};
use latent_loader::{Access, Checkpoint};
use std::path::PathBuf;
use std::sync::Arc;

/// Lets a pipeline decode with the TAESD of the flags; what the images' files tell of it.
pub(super) fn apply(
    args: &PreviewArgs,
    access: Access,
    pipeline: &mut Pipeline,
) -> Result<(Option<Arc<TaesdFile>>, Option<Fact>), AppError> {
    let Some(path) = &args.taesd else { return Ok((None, None)) };
    let taesd = Arc::new(TaesdFile::open(Checkpoint::open_with(path, access)?)?);
    pipeline.set_taesd(Some(taesd.clone()))?;
    let fact = Fact { label: "VAE Decoder", key: "taesd", value: models::stem(path).into() };
    Ok((Some(taesd), Some(fact)))
}

/// Where previews are shown.
enum Place {
    /// Whole or not at all, each in place of the last.
    File(Output, PathBuf),
    Terminal(Terminal),
}

/// What `--preview` calls the terminal.
const TERMINAL: &str = "terminal";

/// Shows the last prediction of a run.
pub(super) struct Preview {
    place: Place,
    interval: usize,
    decoder: Option<TaesdDecoder>,
    rgb: LatentRgb,
    /// One latent.
    shape: LatentShape,
    /// Width and height of an image.
    size: (usize, usize),
}

impl Preview {
    /// Of the first image of each batch.
    pub(super) fn new(
        args: &PreviewArgs,
        taesd: Option<&TaesdFile>,
        settings: &Settings,
        pipeline: &Pipeline,
    ) -> Result<Option<Preview>, AppError> {
        let Some(path) = &args.preview else { return Ok(None) };
        let model = pipeline.model();
        let room = settings.check(model)?;
        Ok(Some(Preview {
            place: match path.to_str() {
                Some(TERMINAL) => Place::Terminal(Terminal::open()?),
                _ => Place::File(Output::new(Some(path), "")?, path.clone()),
            },
            interval: args.preview_interval as usize,
            decoder: taesd.map(|taesd| taesd.decoder(pipeline.device())).transpose()?,
            rgb: model.family.latent_format.rgb,
            shape: LatentShape { images: 1, ..room },
            size: settings.size(model)?,
        }))
    }

    /// Shows it, if it is time.
    pub(super) fn show(&self, event: &Event<'_>) -> Result<(), AppError> {
        let Event::Step { step: step @ 1.., total, denoised, .. } = *event else { return Ok(()) };
        if !step.is_multiple_of(self.interval) && step != total {
            return Ok(());
        }
        let one = self.shape.image_len();
        let latents = self.shape.with_values(denoised[..one.min(denoised.len())].to_vec());
        let image = self.image(&latents)?;
        match &self.place {
            Place::File(output, path) => output.write(path, &image, &[]).map(drop),
            Place::Terminal(terminal) => terminal.show(&image),
        }
    }

    fn image(&self, latents: &Latents) -> Result<Image, AppError> {
        let Some(decoder) = &self.decoder else {
            let small = self.rgb.image(latents, 0)?;
            return Ok(image_file::resized(&small, self.size.0, self.size.1));
        };
        let pixels = decoder.decode(&latents.channels_last(0..1).map_err(AppError::from)?)?;
        let pixels = pixels.to(&Device::Cpu).map_err(latent_diffusion::Error::from)?;
        Ok(Image::from_tensor(&pixels)?.swap_remove(0))
    }
}
