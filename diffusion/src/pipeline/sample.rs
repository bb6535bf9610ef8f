//! The sampling stage: noise to latents.

use super::guided_denoiser::{DenoiserInputs, GuidedDenoiser};
use super::start::SamplingStart;
use super::step_state::StepState;
use super::{AestheticScores, Conditioning, Pipeline, PreparedTask, Settings, Task};
use crate::event::notify;
use crate::latents::Latents;
use crate::params::Params;
use crate::rng::{Noise, PerImage};
use crate::samplers::{SamplerStep, SamplingRun};
use crate::{Error, Event, Listener, Setting, SettingProblem};
use latent_tensor::Device;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;

impl Pipeline {
    /// Samples latents for each seed of `settings`, which is checked first, from text alone.
    ///
    /// # Errors
    /// Settings that the model cannot follow, unreadable weights, a cancelled run, values that are not finite.
    pub fn sample(
        &mut self,
        conditioning: &Conditioning,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        let task = self.prepare(&Task::TextToImage, settings, listener)?;
        self.sample_prepared(&task, conditioning, settings, listener)
    }

    /// Samples latents of a task for each seed of `settings`, the settings that the task was prepared with.
    ///
    /// # Errors
    /// As [`Pipeline::sample`], and a strength that leaves no steps.
    pub fn sample_prepared(
        &mut self,
        task: &PreparedTask,
        conditioning: &Conditioning,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        self.retry_in_f32(listener, |pipeline, listener| {
            pipeline.retry_streaming(listener, |pipeline, listener| {
                let mut noise = PerImage::seeded(settings.rng, settings.seeds.iter().copied());
                pipeline.sample_prepared_from(task, conditioning, settings, &mut noise, listener)
            })
        })
    }

    /// As [`Pipeline::sample_prepared`], with `noise` for all that is drawn; of `settings.seeds` only the number counts.
    ///
    /// # Errors
    /// As [`Pipeline::sample_prepared`].
    pub fn sample_prepared_from(
        &mut self,
        task: &PreparedTask,
        conditioning: &Conditioning,
        settings: &Settings,
        noise: &mut dyn Noise,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        let start = self.sampling_start(task, settings, noise)?;
        self.run_sampler(start, conditioning, settings, noise, listener)
    }

    /// Samples from given unit normals, with `noise` for samplers that draw more. `settings.seeds` is not used.
    ///
    /// # Errors
    /// As [`Pipeline::sample`], and latents of another number of channels than the network takes.
    pub fn sample_from(
        &mut self,
        latents: Latents,
        conditioning: &Conditioning,
        settings: &Settings,
        noise: &mut dyn Noise,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        let start = SamplingStart::noise(latents, settings.schedule(&self.model)?);
        self.run_sampler(start, conditioning, settings, noise, listener)
    }

    /// Runs the sampler over the whole schedule.
    fn run_sampler(
        &mut self,
        start: SamplingStart,
        conditioning: &Conditioning,
        settings: &Settings,
        noise: &mut dyn Noise,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        let SamplingStart { schedule, latents, extra_channels, references, keep, is_second_pass } = &start;
        let (total, shape, sigma) = (schedule.steps(), latents.shape(), schedule.levels()[0].sigma);
        let state = Rc::new(StepState { steps: total, ..StepState::default() });
        let inputs = DenoiserInputs {
            shape,
            extra_channels: extra_channels.as_ref(),
            references,
            conditioning,
            settings,
            state: &state,
        };
        let base = self.denoiser(&inputs, listener)?;
        let base = base.with_controls(self.prepared_controls(shape, *is_second_pass, total, listener)?);
        let base = base.with_image_prompts(self.prepared_image_prompts(total, listener)?);
        let mut x = latents.to_tensor(&self.device)?;
        let kept = keep.as_ref().map(|keep| keep.on(&self.device)).transpose()?;
        notify(listener, Event::Step { step: 0, total, latents: &x, denoised: None, sigma })?;
        let listener = RefCell::new(listener);
        let mut restored = Ok(());
        let mut on_step = |step: SamplerStep<'_>| {
            if let Some(kept) = &kept {
                restored = kept.restore(schedule.noise_model(), step.latents, step.sigma);
                if restored.is_err() {
                    return ControlFlow::Break(());
                }
            }
            state.step.set(step.index + 1);
            (*listener.borrow_mut())(Event::Step {
                step: step.index + 1,
                total: step.total,
                latents: step.latents,
                denoised: state.denoised.borrow().as_ref(),
                sigma: step.sigma,
            })
        };
        let mut model = self.with_refiner(base, (shape, &state), conditioning, settings, &listener);
        let mut run = SamplingRun {
            x: &mut x,
            schedule,
            model: &mut model,
            noise,
            eta: settings.eta,
            on_step: &mut on_step,
        };
        let sampled = settings.sampler.sample(&mut run);
        restored?;
        sampled?;
        Latents::from_channels_last(&x)
    }

    /// The network with all that steers it, loaded if it is not in memory.
    pub(super) fn denoiser(
        &mut self,
        inputs: &DenoiserInputs<'_>,
        listener: &mut Listener<'_>,
    ) -> Result<GuidedDenoiser, Error> {
        self.check_token_merging(inputs.settings)?;
        self.check_perturbed(inputs.settings)?;
        self.check_seamless()?;
        let network = match &self.network {
            Some(network) => network.clone(),
            None => {
                let load = |params: &Params<'_>| self.model.network.load(params);
                self.load_network(self.model.network_weights(), &self.device, load, listener)?
            }
        };
        self.network = Some(network.clone());
        let DenoiserInputs { shape, settings, .. } = inputs;
        let drawn = [shape.height, shape.width].map(|side| side * self.model.vae.factor());
        let AestheticScores { positive, negative } = settings.aesthetic_scores;
        let score = |score: f64| self.model.takes_score.then_some(score);
        let sizes = [
            settings.negative_sizes.unwrap_or(settings.sizes).values(drawn, score(negative)),
            settings.sizes.values(drawn, score(positive)),
        ];
        GuidedDenoiser::new((network, &self.device), self.model.noise_model(), inputs, sizes)
    }

    /// Refuses to merge tokens where no kernel does.
    pub(super) fn check_token_merging(&self, settings: &Settings) -> Result<(), Error> {
        if settings.token_merging == 0.0 || self.device == Device::Cpu {
            return Ok(());
        }
        let reason = "works on the CPU only; draw on the CPU, or set it to 0".to_owned();
        Err(Error::setting(Setting::TokenMerging, SettingProblem::Unsupported(reason)))
    }

    /// Refuses to perturb attentions of a network that has none in its mid block.
    fn check_perturbed(&self, settings: &Settings) -> Result<(), Error> {
        let has_attention = self.model.network.unet().is_some_and(|unet| unet.mid_depth > 0);
        if settings.pag_scale == 0.0 || has_attention {
            return Ok(());
        }
        let reason = "this model has no attention in its mid block; set it to 0".to_owned();
        Err(Error::setting(Setting::PagScale, SettingProblem::Unsupported(reason)))
    }

    /// Drops the denoising network, ControlNets, IP-Adapters and the memory of their stage.
    pub fn unload_denoiser(&mut self) {
        self.network = None;
        self.control_nets.clear();
        self.image_prompts.unload();
        if let Some(refiner) = &mut self.refiner {
            refiner.pipeline.unload_denoiser();
        }
        self.device.trim();
    }
}
