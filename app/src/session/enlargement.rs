//! The images of the built-in model, which the built-in upscaler enlarges.

use super::record::RecordedSetting;
use super::work::TaskWork;
use crate::AppError;
use crate::job::{Job, JobTask, Txt2imgTask};
use crate::upscale::{self, Enlarger};
use latent_diffusion::tensor::Device;
use latent_diffusion::{Error, Event, Image, Listener};
use serde_json::Value;
use std::ops::ControlFlow;

/// Key of the upscaler's name in the metadata of images that it enlarged. Images without it have the size that was drawn.
const UPSCALER_KEY: &str = "postprocess_upscaler";

/// Enlarges what a job draws.
#[derive(Debug)]
pub(super) struct Enlargement {
    enlarger: Enlarger,
}

impl Enlargement {
    /// What enlarges the images of a job: where it draws with the built-in model and asks for neither a size nor a second
    /// pass.
    pub(super) fn of(job: &Job) -> Result<Option<Enlargement>, AppError> {
        let has_second_pass = matches!(&job.task, JobTask::Txt2img(Txt2imgTask { hires }) if hires.enabled);
        let has_size = job.sampling.width.is_some() || job.sampling.height.is_some();
        if job.raw_size || has_size || has_second_pass || !is_of_built_in_model(job) {
            return Ok(None);
        }
        let Some(name) = upscale::built_in() else { return Ok(None) };
        let enlarger = Enlarger::open(Some(name.as_ref()), None, 0)?;
        Ok(Some(Enlargement { enlarger }))
    }

    /// An image that was drawn, as much larger as the upscaler makes it.
    pub(super) fn enlarge(
        &self,
        image: &Image,
        device: &Device,
        listener: &mut Listener<'_>,
    ) -> Result<Image, Error> {
        let scale = self.enlarger.own_scale() as usize;
        // The bar of the stage before goes on: it is a moment's work.
        let mut blocks = |event: Event<'_>| match event {
            Event::Block { .. } => listener(event),
            _ => ControlFlow::Continue(()),
        };
        self.enlarger.enlarge(image, (scale * image.width, scale * image.height), device, &mut blocks)
    }

    /// What metadata record of it, as the webui does.
    pub(super) fn recorded(&self, work: &TaskWork) -> Vec<RecordedSetting> {
        let name = RecordedSetting::new("Postprocess upscaler", UPSCALER_KEY, self.enlarger.name());
        let scale = self.enlarger.own_scale() as u64;
        let scale = RecordedSetting::new("Postprocess upscale by", "postprocess_upscale", scale);
        if work.keeps_size() { vec![name] } else { vec![scale, name] }
    }
}

/// Whether a job draws with the built-in model.
fn is_of_built_in_model(job: &Job) -> bool {
    job.model.model.is_none() && job.model.parts.unet.is_none()
}

/// Whether a job that replays an image draws in the size of the built-in model, as the image's metadata say.
pub(crate) fn is_raw(own: &Value, job: &Job) -> bool {
    let has_size = job.sampling.width.is_some() || job.sampling.height.is_some();
    own.get(UPSCALER_KEY).is_none() && !has_size && is_of_built_in_model(job)
}
