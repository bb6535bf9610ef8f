//! The second stage: noise to latents.

use super::denoiser::UNetDenoiser;
use super::event::tell;
use super::now::Now;
use super::start::{Beside, Start};
use super::{
    AestheticScores, Conditioning, Event, Latents, Listener, Pipeline, PreparedTask, Settings, Task,
};
use crate::Error;
use crate::params::Params;
use crate::rng::{Noise, PerImage};
use crate::samplers::{Run, Step};
use crate::unet::UNet;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

impl Pipeline {
    /// Samples latents for each seed of `settings`, which is checked first, from words alone.
    ///
    /// # Errors
    /// Settings that the model cannot follow, unreadable weights, a cancelled run, values that are no numbers.
    pub fn sample(
        &mut self,
        conditioning: &Conditioning,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        let source = self.prepare(&Task::TextToImage, settings, listener)?;
        self.sample_prepared(&source, conditioning, settings, listener)
    }

    /// Samples latents of a task for each seed of `settings`, which are those that the task was prepared with.
    ///
    /// # Errors
    /// As [`Pipeline::sample`], and a strength that leaves no steps.
    pub fn sample_prepared(
        &mut self,
        source: &PreparedTask,
        conditioning: &Conditioning,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        self.or_in_f32(listener, |pipeline, listener| {
            let mut noise = PerImage::seeded(settings.rng, settings.seeds.iter().copied());
            pipeline.sample_source_from(source, conditioning, settings, &mut noise, listener)
        })
    }

    /// As [`Pipeline::sample_prepared`], with `noise` for all that is drawn; of `settings.seeds` only the number counts.
    ///
    /// # Errors
    /// As [`Pipeline::sample_prepared`].
    pub fn sample_source_from(
        &mut self,
        source: &PreparedTask,
        conditioning: &Conditioning,
        settings: &Settings,
        noise: &mut dyn Noise,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        let start = self.start(source, settings, noise)?;
        self.walk(start, conditioning, settings, noise, listener)
    }

    /// Samples from given unit normals, with `noise` for samplers that draw more. `settings.seeds` is not used.
    ///
    /// # Errors
    /// As [`Pipeline::sample`], and latents of another number of channels than the UNet takes.
    pub fn sample_from(
        &mut self,
        latents: Latents,
        conditioning: &Conditioning,
        settings: &Settings,
        noise: &mut dyn Noise,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        let start = Start::noise(latents, settings.schedule(&self.model)?);
        self.walk(start, conditioning, settings, noise, listener)
    }

    /// Walks down the schedule.
    fn walk(
        &mut self,
        mut start: Start,
        conditioning: &Conditioning,
        settings: &Settings,
        noise: &mut dyn Noise,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        let Start { schedule, latents, beside, keep, is_enlarged } = &mut start;
        let now = Rc::new(Now { steps: schedule.steps(), ..Now::default() });
        let base = self.denoiser(latents, beside.as_ref(), conditioning, settings, &now, listener)?;
        let base = base.steered(self.steering(latents, *is_enlarged, &now, listener)?);
        let (total, sigma) = (schedule.steps(), schedule.levels()[0].sigma);
        tell(listener, Event::Step { step: 0, total, latents: &latents.values, denoised: &[], sigma })?;
        let listener = RefCell::new(listener);
        let mut on_step = |step: Step<'_>| {
            if let Some(keep) = keep {
                keep.apply(step.latents, step.sigma);
            }
            now.step.set(step.index + 1);
            (*listener.borrow_mut())(Event::Step {
                step: step.index + 1,
                total: step.total,
                latents: step.latents,
                denoised: &now.denoised.borrow(),
                sigma: step.sigma,
            })
        };
        let room = Latents { values: Vec::new(), ..*latents };
        let mut model = self.stages(base, &room, conditioning, settings, &now, &listener);
        let mut run = Run {
            x: &mut latents.values,
            schedule,
            model: &mut model,
            noise,
            eta: settings.eta,
            on_step: &mut on_step,
        };
        settings.sampler.sample(&mut run)?;
        Ok(start.latents)
    }

    /// The UNet with what steers it, read if it is not there yet.
    pub(super) fn denoiser(
        &mut self,
        latents: &Latents,
        beside: Option<&Beside>,
        conditioning: &Conditioning,
        settings: &Settings,
        now: &Rc<Now>,
        listener: &mut Listener<'_>,
    ) -> Result<UNetDenoiser, Error> {
        let unet = match &self.unet {
            Some(unet) => unet.clone(),
            None => {
                let load = |params: &Params<'_>| UNet::load(params, &self.model.unet);
                Arc::new(self.load_part("UNet", "unet", &self.device, load, listener)?)
            }
        };
        self.unet = Some(unet.clone());
        let drawn = [latents.height, latents.width].map(|side| side * self.model.vae.factor());
        let AestheticScores { positive, negative } = settings.aesthetic_scores;
        let score = |score: f64| self.model.takes_score.then_some(score);
        let sizes = [
            settings.negative_sizes.unwrap_or(settings.sizes).values(drawn, score(negative)),
            settings.sizes.values(drawn, score(positive)),
        ];
        let unet = (unet, self.model.prediction);
        UNetDenoiser::new(unet, latents, beside, conditioning, settings, sizes, now)
    }

    /// Drops the UNet and the memory of its stage.
    pub fn unload_unet(&mut self) {
        self.unet = None;
        self.control_nets.clear();
        if let Some(refiner) = &mut self.refiner {
            refiner.pipeline.unload_unet();
        }
        self.device.trim();
    }
}
