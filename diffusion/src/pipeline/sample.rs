//! The second stage: noise to latents.

use super::denoiser::UNetDenoiser;
use super::event::tell;
use super::{Conditioning, Event, Latents, Listener, Pipeline, Settings};
use crate::Error;
use crate::params::Params;
use crate::rng::{Noise, PerPicture};
use crate::samplers::{Run, Step};
use crate::unet::UNet;

impl Pipeline {
    /// Samples latents for each seed of `settings`, which is checked first.
    ///
    /// # Errors
    /// Settings that the model cannot follow, unreadable weights, a cancelled run, values that are no numbers.
    pub fn sample(
        &mut self,
        conditioning: &Conditioning,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        let mut noise = PerPicture::seeded(settings.rng, settings.seeds.iter().copied());
        let mut latents = settings.check(&self.model)?;
        noise.normal(&mut latents.values);
        self.sample_from(latents, conditioning, settings, &mut noise, listener)
    }

    /// Samples from given unit normals, with `noise` for samplers that draw more. `settings.seeds` is not used.
    ///
    /// # Errors
    /// As [`Pipeline::sample`], and latents of another number of channels.
    pub fn sample_from(
        &mut self,
        mut latents: Latents,
        conditioning: &Conditioning,
        settings: &Settings,
        noise: &mut dyn Noise,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        let schedule = settings.schedule(&self.model)?;
        if self.unet.is_none() {
            let load = |params: &Params<'_>| UNet::load(params, &self.model.unet);
            self.unet = Some(self.load_part("UNet", "unet", &self.device, load, listener)?);
        }
        let unet = self.unet.as_ref().expect("just loaded");
        let drawn = [latents.height, latents.width].map(|side| side * self.model.vae.factor());
        let sizes = [settings.negative_sizes.unwrap_or(settings.sizes), settings.sizes];
        let sizes = sizes.map(|sizes| sizes.values(drawn));
        let mut model =
            UNetDenoiser::new(unet, &latents, conditioning, settings.guidance, self.model.prediction, sizes)?;
        schedule.scale_noise(&mut latents.values);
        let (total, sigma) = (schedule.steps(), schedule.levels()[0].sigma);
        tell(listener, Event::Step { step: 0, total, latents: &latents.values, sigma })?;
        let mut on_step = |step: Step<'_>| {
            listener(Event::Step {
                step: step.index + 1,
                total: step.total,
                latents: step.latents,
                sigma: step.sigma,
            })
        };
        let mut run = Run {
            x: &mut latents.values,
            schedule: &schedule,
            model: &mut model,
            noise,
            eta: settings.eta,
            on_step: &mut on_step,
        };
        settings.sampler.sample(&mut run)?;
        Ok(latents)
    }

    /// Drops the UNet and the memory of its stage.
    pub fn unload_unet(&mut self) {
        self.unet = None;
        self.device.trim();
    }
}
