//! Batches of a job, drawn one after the other by one pipeline.

use super::event::JobEvent;
use super::monitor::Monitor;
use super::open::ModelHash;
use super::plan::JobPlan;
use crate::AppError;
use crate::device::or_on_cpu;
use latent_diffusion::tensor::{Device, Precision};
use latent_diffusion::{
    Conditioning, Error, Event, Image, Latents, Listener, Pipeline, PreparedTask, Settings,
};
use std::ops::Range;

/// Draws batches of a job. What they have in common is made for the first of them.
pub(super) struct BatchDrawing<'a, 'm> {
    plan: &'a JobPlan,
    pipeline: &'a mut Pipeline,
    /// The model's, which is computed in what the sampling leaves idle.
    hash: &'a ModelHash,
    monitor: &'a mut Monitor<'m>,
    /// Whether the CPU may take over.
    is_auto: bool,
    source: Option<PreparedTask>,
    /// The images whose prompts were encoded last.
    encoded: Option<(Range<usize>, Conditioning)>,
    /// Whether the last error was that of a GPU.
    has_gpu_fault: bool,
}

/// The images of a batch, and what drew them.
pub(super) struct DrawnBatch {
    /// The number of the first image in the job.
    pub(super) first: usize,
    pub(super) images: Vec<Image>,
    pub(super) settings: Settings,
    pub(super) device: Device,
    pub(super) precision: Precision,
}

impl<'a, 'm> BatchDrawing<'a, 'm> {
    pub(super) fn new(
        plan: &'a JobPlan,
        (pipeline, hash): (&'a mut Pipeline, &'a ModelHash),
        monitor: &'a mut Monitor<'m>,
        is_auto: bool,
    ) -> BatchDrawing<'a, 'm> {
        let (source, encoded) = (None, None);
        BatchDrawing { plan, pipeline, hash, monitor, is_auto, source, encoded, has_gpu_fault: false }
    }

    /// Whether the last error was that of a GPU, so that another one may draw the same.
    pub(super) fn has_gpu_fault(&self) -> bool {
        self.has_gpu_fault
    }

    /// What its events go to.
    pub(super) fn monitor(&mut self) -> &mut Monitor<'m> {
        self.monitor
    }

    /// Draws a batch. Whether the network leaves memory before its images are decoded.
    pub(super) fn draw(&mut self, batch: usize, unload: bool) -> Result<DrawnBatch, AppError> {
        let plan = self.plan;
        let first = batch * plan.at_once;
        let mut settings = plan.settings.clone();
        settings.seeds = plan.seeds.iter().skip(first).take(plan.at_once).copied().collect();
        let variations = plan.variations.iter().skip(first).take(plan.at_once);
        settings.variation_seeds = variations.copied().collect();
        let source = match self.source.take() {
            Some(source) => source,
            None => {
                self.stage(|pipeline, listener| pipeline.prepare(&plan.work.task(), &settings, listener))?
            }
        };
        let (block, conditioning) = self.encode(first, &settings)?;
        let of = first - block.start..first - block.start + settings.seeds.len();
        let latents = self.sample(&source, &conditioning.of_images(of), &settings)?;
        self.encoded = Some((block, conditioning));
        if unload {
            self.pipeline.unload_denoiser();
        }
        let images = self.stage(|pipeline, listener| pipeline.decode(&latents, listener))?;
        let images = self.enlarge(source.finish(images)?)?;
        self.source = Some(source);
        let (device, precision) = (self.pipeline.device().clone(), self.pipeline.precision());
        Ok(DrawnBatch { first, images: plan.work.finish(images)?, settings, device, precision })
    }

    /// The prompts of a batch, with those that are encoded together with them.
    fn encode(
        &mut self,
        first: usize,
        settings: &Settings,
    ) -> Result<(Range<usize>, Conditioning), AppError> {
        let plan = self.plan;
        let block = plan.prompts.block(first, plan.at_once);
        if let Some(encoded) = self.encoded.take_if(|(of, _)| *of == block) {
            return Ok(encoded);
        }
        let steps = plan.second_steps();
        let conditioning = self.stage(|pipeline, listener| {
            plan.prompts.encode(block.clone(), pipeline, settings, steps, listener)
        })?;
        Ok((block, conditioning))
    }

    /// Drawn images, enlarged if the job asks for that.
    fn enlarge(&mut self, images: Vec<Image>) -> Result<Vec<Image>, AppError> {
        let Some(enlargement) = &self.plan.enlargement else { return Ok(images) };
        self.stage(|pipeline, listener| {
            let device = pipeline.device();
            images.iter().map(|image| enlargement.enlarge(image, device, listener)).collect()
        })
    }

    /// The latents of a batch after both passes.
    fn sample(
        &mut self,
        source: &PreparedTask,
        conditioning: &Conditioning,
        settings: &Settings,
    ) -> Result<Latents, AppError> {
        let latents = self
            .stage(|pipeline, listener| pipeline.sample_prepared(source, conditioning, settings, listener))?;
        let Some(second) = &self.plan.second else { return Ok(latents) };
        let (source, settings) = self.stage(|pipeline, listener| {
            let device = pipeline.device().clone();
            second.with(&device, |hires| pipeline.enlarge(&latents, settings, hires, listener))
        })?;
        self.monitor.pass = 1;
        let conditioning = conditioning.second_pass();
        let latents = self.stage(|pipeline, listener| {
            pipeline.sample_prepared(&source, &conditioning, &settings, listener)
        });
        self.monitor.pass = 0;
        latents
    }

    /// Runs a stage of the pipeline, on the CPU if a GPU that the program chose fails.
    fn stage<R>(
        &mut self,
        mut stage: impl FnMut(&mut Pipeline, &mut Listener<'_>) -> Result<R, Error>,
    ) -> Result<R, AppError> {
        let options = &self.plan.options;
        let hash = self.hash;
        let mut work = (&mut *self.pipeline, &mut *self.monitor);
        let to_cpu = |(pipeline, monitor): &mut (&mut Pipeline, &mut Monitor<'_>), error: &Error| {
            monitor.notify(JobEvent::GpuFailed(error.to_string()));
            pipeline.set_device(Device::Cpu);
        };
        let done = or_on_cpu(&mut work, self.is_auto, to_cpu, |(pipeline, monitor)| {
            stage(pipeline, &mut |event: Event<'_>| {
                // Hashes are computed in what the sampling leaves idle.
                if matches!(event, Event::Step { step: 0, .. }) {
                    hash.begin();
                    options.begin();
                }
                monitor.listen(&event)
            })
        });
        self.has_gpu_fault = done.as_ref().is_err_and(Error::is_gpu_fault);
        Ok(done?)
    }
}
