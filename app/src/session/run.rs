//! The stages of a job.

use super::control;
use super::cost::DrawingCost;
use super::enlargement::Enlargement;
use super::event::{CancelToken, JobEvent, JobImage, JobObserver};
use super::image_prompt;
use super::monitor::Monitor;
use super::open::{OpenedModel, access};
use super::preview::PreviewDecoder;
use super::record::{ImageRecord, RecordedSetting};
use super::recorded_files::RecordedOptions;
use super::room::NeededRoom;
use super::second_pass::SecondPass;
use super::settings::settings;
use super::work::TaskWork;
use crate::device::{or_on_cpu, save_pipelines};
use crate::job::Job;
use crate::prompts::ResolvedPrompts;
use crate::threads::in_threads;
use crate::{AppError, memory};
use latent_diffusion::tensor::Device;
use latent_diffusion::{
    Conditioning, Error, Event, Hires, Image, Latents, Listener, MemoryEstimate, Pipeline, PreparedTask,
    Settings, Stage,
};
use serde_json::Value;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Runs jobs. A model stays open from one job to the next, as long as they ask for the same.
#[derive(Default)]
pub struct Session {
    threads: Option<usize>,
    keep_unet: bool,
    opened: Option<OpenedModel>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let model = self.opened.as_ref().map(|opened| opened.name.as_str());
        f.debug_struct("Session")
            .field("threads", &self.threads)
            .field("model", &model)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session with nothing open yet, which uses all cores.
    #[must_use]
    pub fn new() -> Session {
        Session::default()
    }

    /// The same with so many threads, 1 to 1024, of which at most one for each core is used
    /// ([`excess`](crate::threads::excess)); one for each core when `None`. Another number is an error of each job.
    #[must_use]
    pub fn with_threads(self, threads: Option<usize>) -> Session {
        Session { threads, ..self }
    }

    /// Whether the UNet stays in memory after a job, which makes the next one begin sooner. Without that, it leaves memory
    /// before the last images are decoded.
    pub fn keep_unet(&mut self, keep: bool) {
        self.keep_unet = keep;
    }

    /// Closes the model that is open.
    pub fn close(&mut self) {
        self.opened = None;
    }

    /// Runs a job. Its images are events, in their order.
    ///
    /// # Errors
    /// [`AppError::Interrupted`], if the token or the observer cancels the job; otherwise what the job asks for and cannot
    /// be, before anything is drawn, or what failed while it was drawn.
    pub fn run(
        &mut self,
        job: &Job,
        cancel: &CancelToken,
        observer: &mut JobObserver<'_>,
    ) -> Result<(), AppError> {
        in_threads(self.threads, || {
            // The observer lives as long as the monitor that holds it.
            let mut observer = |event| observer(event);
            self.run_here(job, &mut Monitor::new(&mut observer, cancel))
        })
    }

    /// Runs a job and collects its images.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn draw(&mut self, job: &Job) -> Result<Vec<JobImage>, AppError> {
        let mut images = Vec::new();
        self.run(job, &CancelToken::new(), &mut |event| {
            if let JobEvent::Image(image) = event {
                images.push(Arc::unwrap_or_clone(image));
            }
            ControlFlow::Continue(())
        })?;
        Ok(images)
    }

    /// What drawing a job takes. Everything about the job is checked as [`Session::run`] does, and nothing is drawn.
    ///
    /// # Errors
    /// What the job asks for and cannot be.
    pub fn estimate(&mut self, job: &Job) -> Result<DrawingCost, AppError> {
        in_threads(self.threads, || {
            let (mut observer, cancel) = (|_| ControlFlow::Continue(()), CancelToken::new());
            let (plan, opened) = self.plan(job, &mut Monitor::new(&mut observer, &cancel))?;
            plan.cost(opened)
        })
    }

    fn run_here(&mut self, job: &Job, monitor: &mut Monitor<'_>) -> Result<(), AppError> {
        let keep_unet = self.keep_unet;
        let (plan, opened) = self.plan(job, monitor)?;
        plan.report(job, opened, monitor)?;
        monitor.set_previews(plan.previews(job, opened)?);
        let is_auto = job.device.is_auto();
        JobRun { plan: &plan, opened, monitor, is_auto, files: None }.all(!keep_unet)?;
        let device = self.opened.as_ref().map(|opened| opened.pipeline.device().clone());
        if let Some(Err(line)) = device.map(|device| save_pipelines(&device)) {
            monitor.notify(JobEvent::PipelinesNotKept(line));
        }
        Ok(())
    }

    /// Checks a job, and opens what it asks for where that is not open.
    fn plan(
        &mut self,
        job: &Job,
        monitor: &mut Monitor<'_>,
    ) -> Result<(JobPlan, &mut OpenedModel), AppError> {
        job.check()?;
        let seeds = job.seeds();
        let at_once = job.batch.size().min(seeds.len());
        // Every error of the input is found here, before anything is drawn.
        let prompts = ResolvedPrompts::of(job, &seeds)?;
        let opened = match self.opened.take() {
            Some(opened) if opened.fits(job, &prompts) => opened,
            _ => OpenedModel::open(job, &prompts, at_once, monitor)?,
        };
        let opened = self.opened.insert(opened);
        let plan = JobPlan::new(job, [seeds, job.variation_seeds()], prompts, opened)?;
        Ok((plan, opened))
    }
}

/// What is to be drawn, checked.
struct JobPlan {
    task: &'static str,
    seeds: Vec<u64>,
    /// Variation seeds, as many or none.
    variations: Vec<u64>,
    /// Images at once.
    at_once: usize,
    prompts: ResolvedPrompts,
    /// Those of the first batch.
    settings: Settings,
    work: TaskWork,
    second: Option<SecondPass>,
    enlargement: Option<Enlargement>,
    recorded: Vec<RecordedSetting>,
    options: RecordedOptions,
}

impl JobPlan {
    /// Reads the images of a job and checks all of it against the model, to which ControlNets and image prompts are added.
    fn new(
        job: &Job,
        [seeds, variations]: [Vec<u64>; 2],
        prompts: ResolvedPrompts,
        opened: &mut OpenedModel,
    ) -> Result<JobPlan, AppError> {
        let at_once = job.batch.size();
        let mut settings = settings(job, opened.pipeline.model());
        settings.seeds = seeds[..at_once.min(seeds.len())].to_vec();
        settings.variation_seeds = variations[..at_once.min(variations.len())].to_vec();
        opened.pipeline.set_seamless(job.sampling.seamless.unwrap_or_default());
        let model = opened.pipeline.model();
        let enlargement = Enlargement::of(job)?;
        let work = TaskWork::open(&job.task, &mut settings, model, enlargement.is_some())?;
        let enlargement = enlargement.filter(|_| work.can_be_enlarged());
        settings = work.task().sized(settings, model);
        work.task().check(&settings, model)?;
        let second = SecondPass::of(&job.task, &settings, model, job.model.models_dir.as_deref())?;
        prompts.check(settings.steps, second.as_ref().map_or(0, |second| second.steps(&settings)))?;
        let mut recorded = work.recorded.clone();
        recorded.extend(second.iter().flat_map(SecondPass::recorded));
        recorded.extend(enlargement.iter().flat_map(|enlargement| enlargement.recorded(&work)));
        recorded.extend(control::apply(job, &work, &settings, access(job), &mut opened.pipeline)?);
        recorded.extend(image_prompt::apply(job, access(job), &mut opened.pipeline)?);
        recorded.extend(opened.recorded());
        let options = RecordedOptions::of(job, &prompts, &opened.embeddings)?;
        let task = job.task.name();
        Ok(JobPlan {
            task,
            seeds,
            variations,
            at_once,
            prompts,
            settings,
            work,
            second,
            enlargement,
            recorded,
            options,
        })
    }

    /// Steps of the second pass.
    fn second_steps(&self) -> usize {
        self.second.as_ref().map_or(0, |second| second.steps(&self.settings))
    }

    /// Reports what is known before anything is drawn.
    fn report(&self, job: &Job, opened: &OpenedModel, monitor: &mut Monitor<'_>) -> Result<(), AppError> {
        if let Some((stage, bytes)) = self.memory(&opened.pipeline)? {
            monitor.notify(JobEvent::MemoryEstimated { stage, bytes, available: memory::available() });
        }
        self.check_room(opened)?;
        for line in self.prompts.other_tags() {
            monitor.notify(JobEvent::PartDoubtful(line));
        }
        if let Some(kind) = opened.pipeline.model().distillation {
            let Settings { steps, guidance, sampler, .. } = &self.settings;
            monitor.notify(JobEvent::FewSteps {
                kind,
                steps: *steps,
                cfg_scale: *guidance,
                sampler: sampler.name(),
            });
        }
        if job.sampling.seed.is_none() {
            monitor.notify(JobEvent::SeedChosen(self.seeds[0]));
        }
        monitor.check()
    }

    /// What drawing takes.
    fn cost(&self, opened: &OpenedModel) -> Result<DrawingCost, AppError> {
        let model = opened.pipeline.model();
        let of = |settings: &Settings, steps: usize| -> Result<DrawingCost, AppError> {
            let evaluations = settings.sampler.evaluations();
            Ok(DrawingCost::of_pass(settings.size(model)?, steps, evaluations, self.seeds.len()))
        };
        let mut cost = of(&self.settings, self.settings.steps)?;
        if let Some(second) = &self.second {
            cost = cost.and_pass(of(&second.settings(&self.settings, model)?, self.second_steps())?);
        }
        cost.memory = self.memory(&opened.pipeline)?.map(|(_, bytes)| bytes);
        Ok(cost)
    }

    /// Refuses a model that this machine has no memory for.
    fn check_room(&self, opened: &OpenedModel) -> Result<(), AppError> {
        let pipeline = &opened.pipeline;
        if *pipeline.device() != Device::Cpu {
            return Ok(());
        }
        let stages = self.estimates(pipeline, pipeline.streams_weights())?;
        let can_stream = !pipeline.streams_weights() && pipeline.can_stream();
        let streamed = can_stream.then(|| self.estimates(pipeline, true)).transpose()?;
        let (model, family) = (opened.name.as_str(), pipeline.model().family.id);
        NeededRoom { model, family, stages: &stages, streamed: streamed.as_deref() }.check(memory::limit())
    }

    /// The stage that takes the most memory, and its bytes. On a GPU nothing is known.
    fn memory(&self, pipeline: &Pipeline) -> Result<Option<(Stage, u64)>, AppError> {
        if *pipeline.device() != Device::Cpu {
            return Ok(None);
        }
        let estimates = self.estimates(pipeline, pipeline.streams_weights())?;
        let most = estimates.iter().max_by_key(|estimate| estimate.bytes);
        Ok(most.map(|most| (most.stage, most.bytes)))
    }

    /// What the stages take, with weights that are read block by block or not.
    fn estimates(&self, pipeline: &Pipeline, streams: bool) -> Result<Vec<MemoryEstimate>, AppError> {
        let task = self.work.task();
        let of =
            |hires: Option<&Hires<'_>>| pipeline.memory_estimates_with(&task, &self.settings, hires, streams);
        let mut estimates = match &self.second {
            None => of(None)?,
            Some(second) => second.with(&Device::Cpu, |hires| of(Some(hires)))?,
        };
        if let Some(second) = &self.second {
            let size = self.settings.size(pipeline.model())?;
            for estimate in estimates.iter_mut().filter(|estimate| estimate.stage == Stage::Upscaling) {
                estimate.bytes += second.memory(size);
            }
        }
        Ok(estimates)
    }

    /// The previews of the first and the second pass, if the job asks for any.
    fn previews(&self, job: &Job, opened: &OpenedModel) -> Result<[Option<PreviewDecoder>; 2], AppError> {
        let Some(options) = &job.preview else { return Ok([None, None]) };
        let of = |settings: &Settings| {
            PreviewDecoder::new(options.interval, opened.taesd.as_deref(), settings, &opened.pipeline)
        };
        let large = self.second.as_ref();
        let large =
            large.map(|second| second.settings(&self.settings, opened.pipeline.model())).transpose()?;
        Ok([Some(of(&self.settings)?), large.as_ref().map(of).transpose()?])
    }
}

/// A job that is being drawn.
struct JobRun<'a, 'm> {
    plan: &'a JobPlan,
    opened: &'a mut OpenedModel,
    monitor: &'a mut Monitor<'m>,
    /// Whether the CPU may take over.
    is_auto: bool,
    /// The files of the job with their hashes, once they were waited for.
    files: Option<Value>,
}

impl JobRun<'_, '_> {
    /// Draws all batches. Whether the UNet leaves memory before the last images are decoded.
    fn all(mut self, unload: bool) -> Result<(), AppError> {
        let plan = self.plan;
        let mut settings = plan.settings.clone();
        let task = plan.work.task();
        let source = self.stage(|pipeline, listener| pipeline.prepare(&task, &settings, listener))?;
        let mut encoded = None;
        for (group, seeds) in plan.seeds.chunks(plan.at_once).enumerate() {
            settings.seeds = seeds.to_vec();
            let first = group * plan.at_once;
            settings.variation_seeds =
                plan.variations.iter().skip(first).take(seeds.len()).copied().collect();
            let block = plan.prompts.block(first, plan.at_once);
            let conditioning = match encoded.take() {
                Some(conditioning) if first > block.start => conditioning,
                _ => {
                    let steps = plan.second_steps();
                    self.stage(|pipeline, listener| {
                        plan.prompts.encode(block.clone(), pipeline, &settings, steps, listener)
                    })?
                }
            };
            let all = &*encoded.insert(conditioning);
            let conditioning = all.of_images(first - block.start..first - block.start + seeds.len());
            let latents = self.sample(&source, &conditioning, &settings)?;
            if unload && first + plan.at_once >= plan.seeds.len() {
                self.opened.pipeline.unload_denoiser();
            }
            let images = self.stage(|pipeline, listener| pipeline.decode(&latents, listener))?;
            let images = self.enlarge(source.finish(images)?)?;
            let images = plan.work.finish(images)?;
            self.deliver(first, images, &settings)?;
        }
        Ok(())
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

    /// Hands out the images of a batch with their metadata. Hashes that are still computed are waited for.
    fn deliver(&mut self, first: usize, images: Vec<Image>, settings: &Settings) -> Result<(), AppError> {
        let (plan, opened) = (self.plan, &*self.opened);
        let files = self.files.get_or_insert_with(|| plan.options.files());
        let is_enlarged = plan.enlargement.is_some() && !plan.work.keeps_size();
        let is_drawn_smaller = plan.second.is_some() || is_enlarged;
        let first_size = is_drawn_smaller.then(|| settings.size(opened.pipeline.model())).transpose()?;
        for (i, image) in images.into_iter().enumerate() {
            let (index, seed) = (first + i, settings.seeds[i]);
            let variation = settings.variation_seeds.get(i).copied();
            let record = ImageRecord {
                command: plan.task,
                settings,
                prompts: plan.prompts.drawn(index),
                templates: plan.prompts.templates(index),
                model: &opened.name,
                hash: opened.content_hash(),
                seed,
                variation,
                seamless: opened.pipeline.seamless(),
                first_size,
                recorded: &plan.recorded,
                options: &plan.options.options,
                files,
                device: opened.pipeline.device(),
                precision: opened.pipeline.precision(),
            };
            let texts = record.texts(&image);
            let rgba = plan.work.rgba(&image);
            let drawn = JobImage { image, rgba, index, seed, variation, texts };
            self.monitor.notify(JobEvent::Image(Arc::new(drawn)));
            self.monitor.check()?;
        }
        Ok(())
    }

    /// Runs a stage of the pipeline, on the CPU if a GPU that the program chose fails.
    fn stage<R>(
        &mut self,
        mut stage: impl FnMut(&mut Pipeline, &mut Listener<'_>) -> Result<R, Error>,
    ) -> Result<R, AppError> {
        let options = &self.plan.options;
        let mut work = (&mut *self.opened, &mut *self.monitor);
        let to_cpu = |(opened, monitor): &mut (&mut OpenedModel, &mut Monitor<'_>), error: &Error| {
            monitor.notify(JobEvent::GpuFailed(error.to_string()));
            opened.pipeline.set_device(Device::Cpu);
        };
        let done = or_on_cpu(&mut work, self.is_auto, to_cpu, |(opened, monitor)| {
            let OpenedModel { pipeline, hash, .. } = &mut **opened;
            stage(pipeline, &mut |event: Event<'_>| {
                // Hashes are computed in what the sampling leaves idle.
                if matches!(event, Event::Step { step: 0, .. }) {
                    hash.begin();
                    options.begin();
                }
                monitor.listen(&event)
            })
        });
        Ok(done?)
    }
}
