//! A whole run: the order of its stages.

use super::{Conditioning, Hires, Pipeline, PreparedTask, Settings, Task};
use crate::event::notify;
use crate::image::Image;
use crate::setting::{Bounds, Setting, SettingProblem};
use crate::{Error, Event, Listener};
use latent_tensor::Device;
use std::ops::{ControlFlow, Range};

/// Images whose prompts are encoded at once, where each image has its own.
const ENCODED_AT_ONCE: usize = 64;

/// A run of any number of images in batches.
///
/// ```
/// use latent_diffusion::{Pipeline, RunPlan, Settings, Task, loader::Checkpoint};
/// use std::ops::ControlFlow;
/// # let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.safetensors");
/// let mut pipeline = Pipeline::open(Checkpoint::open(demo.as_ref())?)?;
/// let settings = Settings::of(pipeline.model()).with_steps(2).with_seeds(vec![5, 6, 7]);
/// let prompts = ["a red apple", "a green apple", "a yellow apple"];
/// let plan = RunPlan { batch_size: Some(2), ..RunPlan::new(Task::TextToImage, &prompts, &settings) };
/// let mut seeds = Vec::new();
/// let mut on_image = |image: latent_diffusion::RunImage| {
///     seeds.push(image.seed);
///     ControlFlow::Continue(())
/// };
/// pipeline.run(&plan, &mut on_image, &mut |_| ControlFlow::Continue(()))?;
/// assert_eq!(seeds, [5, 6, 7]);
/// # Ok::<(), latent_diffusion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RunPlan<'a> {
    /// What is made.
    pub task: Task<'a>,
    /// One prompt for all images, or one for each.
    pub prompts: &'a [&'a str],
    /// One negative prompt for all images, one for each, or none. Where all are empty there is none.
    pub negative_prompts: &'a [&'a str],
    /// The settings, with a seed for each image. A task with an image sets the size ([`Task::sized`]).
    pub settings: &'a Settings,
    /// A second pass, for images from text alone.
    pub hires: Option<Hires<'a>>,
    /// Images that are drawn at once, 1 to 256; all when `None`.
    pub batch_size: Option<usize>,
    /// Where a stage begins once more, and the rest of the run is drawn, after the GPU has failed.
    pub fallback: Option<Device>,
    /// Whether the denoiser and the decoder stay in memory at the end, for a run that follows.
    pub keep_loaded: bool,
}

/// An image of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunImage {
    /// Its number in the run, from 0.
    pub index: usize,
    /// Its seed.
    pub seed: u64,
    /// The image.
    pub image: Image,
}

impl<'a> RunPlan<'a> {
    /// All images in one batch, without negative prompts and without a second pass.
    #[must_use]
    pub fn new(task: Task<'a>, prompts: &'a [&'a str], settings: &'a Settings) -> RunPlan<'a> {
        RunPlan {
            task,
            prompts,
            negative_prompts: &[],
            settings,
            hires: None,
            batch_size: None,
            fallback: None,
            keep_loaded: false,
        }
    }

    /// Refuses numbers of prompts that fit no number of images, and a second pass of an image.
    fn check(&self, batch_size: usize) -> Result<(), Error> {
        SettingProblem::check_range(batch_size as f64, Bounds::new(1.0, 256.0), None)
            .map_err(|problem| Error::setting(Setting::BatchSize, problem))?;
        let images = self.settings.seeds.len();
        let fits = |given: usize| given == 1 || given == images;
        let mismatch = |given| SettingProblem::CountMismatch { given, images };
        if !fits(self.prompts.len()) {
            return Err(Error::setting(Setting::Prompt, mismatch(self.prompts.len())));
        }
        if !self.negative_prompts.is_empty() && !fits(self.negative_prompts.len()) {
            return Err(Error::setting(Setting::NegativePrompt, mismatch(self.negative_prompts.len())));
        }
        if self.hires.is_some() && self.task.image().is_some() {
            let reason = "a second pass is for images from text alone".to_owned();
            return Err(Error::setting(Setting::Hires, SettingProblem::Conflict(reason)));
        }
        Ok(())
    }

    /// The images whose prompts are encoded together with those of the batch that begins with `first`: all of them if they
    /// have the same.
    fn block(&self, first: usize, batch_size: usize) -> Range<usize> {
        let images = self.settings.seeds.len();
        if self.prompts.len() == 1 && self.negative_prompts.len() <= 1 {
            return 0..images;
        }
        let block = (ENCODED_AT_ONCE / batch_size).max(1) * batch_size;
        let start = first - first % block;
        start..(start + block).min(images)
    }
}

/// Some of the prompts of a run, or the one for all.
fn of_block<'a>(prompts: &'a [&'a str], block: &Range<usize>) -> &'a [&'a str] {
    if prompts.len() <= 1 { prompts } else { &prompts[block.clone()] }
}

impl Pipeline {
    /// Draws the images of a plan and passes each to `on_image`, whose `Break` cancels. Each different prompt is encoded
    /// once, and the images of the task, too. An image's bytes are those of its seed drawn alone. Each part of the model
    /// leaves memory when it is no longer needed.
    ///
    /// # Errors
    /// Settings that the model cannot follow (found before anything is loaded), unreadable weights, a cancelled run.
    pub fn run(
        &mut self,
        plan: &RunPlan<'_>,
        on_image: &mut dyn FnMut(RunImage) -> ControlFlow<()>,
        listener: &mut Listener<'_>,
    ) -> Result<(), Error> {
        let seeds = &plan.settings.seeds;
        let batch_size = plan.batch_size.unwrap_or(seeds.len());
        plan.check(batch_size)?;
        let mut settings = plan.task.sized(plan.settings.clone(), &self.model);
        settings.seeds.truncate(batch_size);
        settings.variation_seeds.truncate(batch_size);
        plan.task.check(&settings, &self.model)?;
        self.check_controls(&settings)?;
        self.check_token_merging(&settings)?;
        self.check_seamless()?;
        plan.hires.map(|hires| hires.settings(&settings, &self.model)).transpose()?;
        let (mut prepared, mut encoded) = (None, None);
        for (batch, seeds) in seeds.chunks(batch_size).enumerate() {
            let first = batch * batch_size;
            settings.seeds = seeds.to_vec();
            let variations = plan.settings.variation_seeds.iter().skip(first).take(seeds.len());
            settings.variation_seeds = variations.copied().collect();
            let block = plan.block(first, batch_size);
            let conditioning = match encoded.take() {
                Some(conditioning) if first > block.start => conditioning,
                _ => self.encode_block(plan, &block, &settings, listener)?,
            };
            let of = first - block.start..first - block.start + seeds.len();
            let conditioning = encoded.insert(conditioning).of_images(of);
            let task = match prepared.take() {
                Some(task) => task,
                None => self.with_fallback(plan, listener, |pipeline, listener| {
                    pipeline.prepare(&plan.task, &settings, listener)
                })?,
            };
            let task = &*prepared.insert(task);
            let is_last = first + seeds.len() == plan.settings.seeds.len();
            let images = self.draw_batch(plan, task, (&conditioning, &settings), is_last, listener)?;
            for ((index, seed), image) in (first..).zip(seeds).zip(task.finish(images)?) {
                if on_image(RunImage { index, seed: *seed, image }).is_break() {
                    return Err(Error::Cancelled);
                }
            }
        }
        Ok(())
    }

    fn encode_block(
        &mut self,
        plan: &RunPlan<'_>,
        block: &Range<usize>,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Conditioning, Error> {
        let prompts = of_block(plan.prompts, block);
        let mut negative = of_block(plan.negative_prompts, block);
        if negative.iter().all(|prompt| prompt.is_empty()) {
            negative = &[];
        }
        let second = plan.hires.map_or(0, |hires| hires.run_steps(settings));
        let conditioning = self.with_fallback(plan, listener, |pipeline, listener| {
            pipeline.encode_passes(prompts, negative, settings, second, listener)
        })?;
        self.unload_text_encoder();
        Ok(conditioning)
    }

    /// Samples a batch, with its second pass, and decodes it.
    fn draw_batch(
        &mut self,
        plan: &RunPlan<'_>,
        task: &PreparedTask,
        (conditioning, settings): (&Conditioning, &Settings),
        is_last: bool,
        listener: &mut Listener<'_>,
    ) -> Result<Vec<Image>, Error> {
        let mut latents = self.with_fallback(plan, listener, |pipeline, listener| {
            pipeline.sample_prepared(task, conditioning, settings, listener)
        })?;
        if let Some(hires) = &plan.hires {
            let (task, settings) = self.with_fallback(plan, listener, |pipeline, listener| {
                pipeline.enlarge(&latents, settings, hires, listener)
            })?;
            let conditioning = conditioning.second_pass();
            latents = self.with_fallback(plan, listener, |pipeline, listener| {
                pipeline.sample_prepared(&task, &conditioning, &settings, listener)
            })?;
        }
        let is_unloaded = is_last && !plan.keep_loaded;
        if is_unloaded {
            self.unload_denoiser();
        }
        let images =
            self.with_fallback(plan, listener, |pipeline, listener| pipeline.decode(&latents, listener))?;
        if is_unloaded {
            self.unload_decoder();
        }
        Ok(images)
    }

    /// Runs a stage. Where a GPU fails and the plan has a fallback, the stage begins once more there, and all that follow
    /// run there, too.
    fn with_fallback<R>(
        &mut self,
        plan: &RunPlan<'_>,
        listener: &mut Listener<'_>,
        mut stage: impl FnMut(&mut Pipeline, &mut Listener<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        match (stage(self, listener), &plan.fallback) {
            (Err(error), Some(device)) if error.is_gpu_fault() => {
                notify(listener, Event::OnFallback { reason: &error })?;
                self.set_device(device.clone());
                stage(self, listener)
            }
            (result, _) => result,
        }
    }

    /// Runs a stage. Where its values exceed the largest `f16` on a GPU, it runs once more in `f32`, and so do all that
    /// follow. A VAE does that alone ([`Pipeline::decode`]), because it does so often.
    pub(super) fn retry_in_f32<R>(
        &mut self,
        listener: &mut Listener<'_>,
        mut stage: impl FnMut(&mut Pipeline, &mut Listener<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let reason = match stage(self, listener) {
            Err(error) if error.is_not_finite() => error,
            result => return result,
        };
        let Some(exact) = self.device.more_exact() else { return Err(reason) };
        notify(listener, Event::InF32 { reason: &reason })?;
        self.set_device(exact);
        stage(self, listener)
    }

    /// Draws an image for each seed of `settings`, all in one batch, from text alone ([`Pipeline::run`]).
    ///
    /// # Errors
    /// As [`Pipeline::run`].
    ///
    /// # Examples
    /// ```no_run
    /// # use latent_diffusion::{Pipeline, Settings, loader::Checkpoint};
    /// # use std::{ops::ControlFlow, path::Path};
    /// let mut pipeline = Pipeline::open(Checkpoint::open(Path::new("v1-5-pruned.safetensors"))?)?;
    /// let settings = Settings::of(pipeline.model()).with_seeds(vec![42]);
    /// let images = pipeline.text_to_image("a red fox", "", &settings, &mut |_| ControlFlow::Continue(()))?;
    /// assert_eq!(images[0].rgb.len(), 512 * 512 * 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn text_to_image(
        &mut self,
        prompt: &str,
        negative_prompt: &str,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Vec<Image>, Error> {
        self.draw(&Task::TextToImage, prompt, negative_prompt, settings, listener)
    }

    /// Draws an image for each seed as [`Pipeline::text_to_image`], enlarges it, and redraws it.
    ///
    /// # Errors
    /// As [`Pipeline::run`], and [`Hires::settings`].
    ///
    /// # Examples
    /// ```no_run
    /// # use latent_diffusion::{Hires, Pipeline, Settings, loader::Checkpoint};
    /// # use std::{ops::ControlFlow, path::Path};
    /// let mut pipeline = Pipeline::open(Checkpoint::open(Path::new("v1-5-pruned.safetensors"))?)?;
    /// let settings = Settings::of(pipeline.model());
    /// let hires = Hires { strength: 0.6, ..Hires::new(1024, 1024) };
    /// let mut go_on = |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
    /// let images = pipeline.text_to_image_hires("a red fox", "", &settings, &hires, &mut go_on)?;
    /// assert_eq!((images[0].width, images[0].height), (1024, 1024));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn text_to_image_hires(
        &mut self,
        prompt: &str,
        negative_prompt: &str,
        settings: &Settings,
        hires: &Hires<'_>,
        listener: &mut Listener<'_>,
    ) -> Result<Vec<Image>, Error> {
        let (prompts, negative_prompts) = ([prompt], [negative_prompt]);
        let plan = RunPlan::new(Task::TextToImage, &prompts, settings);
        let plan = RunPlan { negative_prompts: &negative_prompts, hires: Some(*hires), ..plan };
        self.run_to_end(&plan, listener)
    }

    /// Does a task for each seed of `settings`, all in one batch. Images are of the size of the task's image. Outside of a
    /// mask they are the given image, byte for byte.
    ///
    /// # Errors
    /// As [`Pipeline::run`], and a task that the model cannot do.
    ///
    /// # Examples
    /// ```no_run
    /// # use latent_diffusion::{Margins, Image, Pipeline, Settings, Task, Fill, loader::Checkpoint};
    /// # use std::{ops::ControlFlow, path::Path};
    /// # let photo = Image { width: 500, height: 300, rgb: vec![0; 500 * 300 * 3] };
    /// let mut pipeline = Pipeline::open(Checkpoint::open(Path::new("v1-5-pruned.safetensors"))?)?;
    /// let (image, mask) = photo.grown(Margins { left: 128, ..Margins::default() });
    /// let task =
    ///     Task::Inpaint { image: &image, mask: &mask, strength: 1.0, fill: Fill::Nearest, feather: 4.0 };
    /// let settings = Settings::of(pipeline.model());
    /// let images = pipeline.draw(&task, "a beach", "", &settings, &mut |_| ControlFlow::Continue(()))?;
    /// assert_eq!(images[0].cropped(128, 0, 500, 300), photo);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn draw(
        &mut self,
        task: &Task<'_>,
        prompt: &str,
        negative_prompt: &str,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Vec<Image>, Error> {
        let (prompts, negative_prompts) = ([prompt], [negative_prompt]);
        let plan = RunPlan::new(*task, &prompts, settings);
        self.run_to_end(&RunPlan { negative_prompts: &negative_prompts, ..plan }, listener)
    }

    fn run_to_end(&mut self, plan: &RunPlan<'_>, listener: &mut Listener<'_>) -> Result<Vec<Image>, Error> {
        let mut images = Vec::new();
        let mut on_image = |image: RunImage| {
            images.push(image.image);
            ControlFlow::Continue(())
        };
        self.run(plan, &mut on_image, listener)?;
        Ok(images)
    }
}
