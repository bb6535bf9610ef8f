//! What a job is to draw, checked.

use super::control;
use super::cost::DrawingCost;
use super::enlargement::Enlargement;
use super::event::JobEvent;
use super::image_prompt;
use super::monitor::Monitor;
use super::open::{OpenedModel, access};
use super::preview::PreviewDecoder;
use super::record::RecordedSetting;
use super::recorded_files::RecordedOptions;
use super::room::NeededRoom;
use super::second_pass::SecondPass;
use super::settings::settings;
use super::work::TaskWork;
use crate::job::Job;
use crate::prompts::ResolvedPrompts;
use crate::{AppError, memory};
use latent_diffusion::taesd::TaesdFile;
use latent_diffusion::tensor::Device;
use latent_diffusion::{Hires, MemoryEstimate, Pipeline, Settings, Stage};

/// What is to be drawn, checked.
pub(super) struct JobPlan {
    pub(super) task: &'static str,
    pub(super) seeds: Vec<u64>,
    /// Variation seeds, as many or none.
    pub(super) variations: Vec<u64>,
    /// Images at once.
    pub(super) at_once: usize,
    pub(super) prompts: ResolvedPrompts,
    /// Those of the first batch.
    pub(super) settings: Settings,
    pub(super) work: TaskWork,
    pub(super) second: Option<SecondPass>,
    pub(super) enlargement: Option<Enlargement>,
    pub(super) recorded: Vec<RecordedSetting>,
    pub(super) options: RecordedOptions,
}

impl JobPlan {
    /// Reads the images of a job and checks all of it against the model, to which ControlNets and image prompts are added.
    pub(super) fn new(
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

    /// Batches, of as many images as are drawn at once.
    pub(super) fn batches(&self) -> usize {
        self.seeds.len().div_ceil(self.at_once)
    }

    /// Steps of the second pass.
    pub(super) fn second_steps(&self) -> usize {
        self.second.as_ref().map_or(0, |second| second.steps(&self.settings))
    }

    /// Reports what is known before anything is drawn.
    pub(super) fn report(
        &self,
        job: &Job,
        opened: &OpenedModel,
        monitor: &mut Monitor<'_>,
    ) -> Result<(), AppError> {
        opened.report_gpus(monitor);
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
    pub(super) fn cost(&self, opened: &OpenedModel) -> Result<DrawingCost, AppError> {
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

    /// The previews of the first and the second pass of a pipeline, if the job asks for any.
    pub(super) fn previews(
        &self,
        job: &Job,
        taesd: Option<&TaesdFile>,
        pipeline: &Pipeline,
    ) -> Result<[Option<PreviewDecoder>; 2], AppError> {
        let Some(options) = &job.preview else { return Ok([None, None]) };
        let of = |settings: &Settings| PreviewDecoder::new(options.interval, taesd, settings, pipeline);
        let large = self.second.as_ref();
        let large = large.map(|second| second.settings(&self.settings, pipeline.model())).transpose()?;
        Ok([Some(of(&self.settings)?), large.as_ref().map(of).transpose()?])
    }
}
