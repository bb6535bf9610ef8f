//! Finished images of a job, with their metadata.

use super::batch::DrawnBatch;
use super::event::{JobEvent, JobImage};
use super::monitor::Monitor;
use super::open::ModelHash;
use super::plan::JobPlan;
use super::record::ImageRecord;
use crate::AppError;
use latent_diffusion::{Pipeline, Seamless};
use serde_json::Value;
use std::sync::Arc;

/// Hands out the images of a job.
pub(super) struct Delivery<'a> {
    plan: &'a JobPlan,
    /// The model's name.
    model: &'a str,
    hash: &'a ModelHash,
    seamless: Seamless,
    /// Width and height of what is drawn first, where the images are larger.
    first_size: Option<(usize, usize)>,
    /// The files of the job with their hashes, once they were waited for.
    files: Option<Value>,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(
        plan: &'a JobPlan,
        (model, hash): (&'a str, &'a ModelHash),
        pipeline: &Pipeline,
    ) -> Result<Delivery<'a>, AppError> {
        let is_enlarged = plan.enlargement.is_some() && !plan.work.keeps_size();
        let is_drawn_smaller = plan.second.is_some() || is_enlarged;
        let first_size = is_drawn_smaller.then(|| plan.settings.size(pipeline.model())).transpose()?;
        let seamless = pipeline.seamless();
        Ok(Delivery { plan, model, hash, seamless, first_size, files: None })
    }

    /// Hands out the images of a batch with their metadata. Hashes that are still computed are waited for.
    pub(super) fn deliver(&mut self, drawn: DrawnBatch, monitor: &mut Monitor<'_>) -> Result<(), AppError> {
        let plan = self.plan;
        let DrawnBatch { first, images, settings, device, precision } = drawn;
        let files = self.files.get_or_insert_with(|| plan.options.files());
        for (i, image) in images.into_iter().enumerate() {
            let (index, seed) = (first + i, settings.seeds[i]);
            let variation = settings.variation_seeds.get(i).copied();
            let record = ImageRecord {
                command: plan.task,
                settings: &settings,
                prompts: plan.prompts.drawn(index),
                templates: plan.prompts.templates(index),
                model: self.model,
                hash: self.hash.wait(),
                seed,
                variation,
                seamless: self.seamless,
                first_size: self.first_size,
                recorded: &plan.recorded,
                options: &plan.options.options,
                files,
                device: &device,
                precision,
            };
            let texts = record.texts(&image);
            let rgba = plan.work.rgba(&image);
            let drawn = JobImage { image, rgba, index, seed, variation, texts };
            monitor.notify(JobEvent::Image(Arc::new(drawn)));
            monitor.check()?;
        }
        Ok(())
    }
}
