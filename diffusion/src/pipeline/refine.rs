//! A second model that takes over when little noise is left (Podell et al., SDXL, 2023, section 2.5).

use super::denoiser::UNetDenoiser;
use super::now::Now;
use super::{Conditioning, Event, Latents, Listener, Pipeline, Settings};
use crate::Error;
use crate::families::NetworkInput;
use crate::samplers::{Denoiser, SampleError};
use crate::schedule::Level;
use std::cell::RefCell;
use std::rc::Rc;

/// A second model, and when it takes over.
pub(super) struct Refiner {
    pub(super) pipeline: Box<Pipeline>,
    /// The part of the way that is walked without it.
    start: f64,
}

impl Pipeline {
    /// Lets another model of the same kind of latents finish each image, or none. `start` is the part of the way, from 0
    /// to 1, after which it takes over: 0.8 is usual for SDXL's refiner. It goes on from the same latents, under the same
    /// sampler; this pipeline's VAE decodes. At no time are both UNets in memory. `start` counts in time steps, as
    /// `denoising_end` and `denoising_start` of diffusers do.
    ///
    /// The refiner moves to this pipeline's device, and is steered by what [`Pipeline::encode`] gives from then on.
    ///
    /// # Errors
    /// A `start` that is not between 0 and 1, a model of other latents, or one that has a refiner of its own. Then nothing
    /// has changed.
    ///
    /// # Examples
    /// ```no_run
    /// # use latent_diffusion::{Pipeline, loader::Checkpoint};
    /// # use std::path::Path;
    /// let open = |file: &str| -> Result<_, Box<dyn std::error::Error>> {
    ///     Ok(Pipeline::open(Checkpoint::open(Path::new(file))?)?)
    /// };
    /// let mut pipeline = open("sd_xl_base_1.0.safetensors")?;
    /// pipeline.set_refiner(Some((open("sd_xl_refiner_1.0.safetensors")?, 0.8)))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_refiner(&mut self, refiner: Option<(Pipeline, f64)>) -> Result<(), Error> {
        let Some((mut pipeline, start)) = refiner else {
            self.refiner = None;
            return Ok(());
        };
        if !(start > 0.0 && start < 1.0) {
            let reason = format!("{start} is not between 0 and 1; 0.8 is usual");
            return Err(Error::Setting { name: "refiner start", reason });
        }
        let (own, other) = (&self.model.vae, &pipeline.model.vae);
        let latents = |vae: &crate::vae::VaeConfig| (vae.latent_channels, vae.factor(), vae.scaling_factor);
        if latents(own) != latents(other) {
            return Err(Error::Unsupported {
                file: pipeline.model.weights.label().to_owned(),
                reason: format!(
                    "is a {} checkpoint, whose latents are others than those of {}; a refiner needs the same",
                    pipeline.model.family.label, self.model.family.label
                ),
            });
        }
        if pipeline.model.input != NetworkInput::Latent {
            let reason = format!(
                "it is a model of {}; one that takes the latent alone can",
                pipeline.model.input.label()
            );
            return Err(Error::Setting { name: "refiner", reason });
        }
        if pipeline.refiner.is_some() {
            let reason = "it has a refiner of its own; one can follow, not two".to_owned();
            return Err(Error::Setting { name: "refiner", reason });
        }
        pipeline.set_device(self.device.clone());
        pipeline.vae_tiling = self.vae_tiling;
        self.refiner = Some(Refiner { pipeline: Box::new(pipeline), start });
        Ok(())
    }

    /// What a sampler asks: `base`, and after it the refiner, where there is one and it was encoded for.
    pub(super) fn stages<'a>(
        &'a mut self,
        base: UNetDenoiser,
        latents: &'a Latents,
        conditioning: &'a Conditioning,
        settings: &'a Settings,
        now: &Rc<Now>,
        listener: &'a RefCell<&mut Listener<'_>>,
    ) -> Stages<'a> {
        let mut stages = Stages { model: Some(base), now: now.clone(), below: f64::NEG_INFINITY, next: None };
        if let (Some(Refiner { pipeline, start }), Some(conditioning)) =
            (&mut self.refiner, &conditioning.refiner)
        {
            // Only the base's stage holds its UNet from now on.
            self.unet = None;
            self.control_nets.clear();
            let (steps, device) = (self.model.training.sigmas().len() as f64, &self.device);
            stages.below = (steps - *start * steps).round();
            let now = now.clone();
            stages.next = Some(Box::new(move || {
                device.trim();
                let mut tell = |event: Event<'_>| (*listener.borrow_mut())(event);
                let next = pipeline.denoiser(latents, None, conditioning, settings, &now, &mut tell);
                pipeline.unet = None;
                next
            }));
        }
        stages
    }
}

/// Reads the next stage's UNet.
type Next<'a> = Box<dyn FnOnce() -> Result<UNetDenoiser, Error> + 'a>;

/// One model after the other.
pub(super) struct Stages<'a> {
    /// `None` only after an error.
    model: Option<UNetDenoiser>,
    /// Told what is predicted.
    now: Rc<Now>,
    /// The next one takes over below this time step.
    below: f64,
    next: Option<Next<'a>>,
}

impl Denoiser for Stages<'_> {
    fn denoise(&mut self, x: &[f32], level: Level) -> Result<Vec<f32>, SampleError> {
        if level.timestep < self.below
            && let Some(next) = self.next.take()
        {
            // First out of memory with the one, then in with the other.
            self.model = None;
            self.model = Some(next().map_err(SampleError::model)?);
        }
        let Some(model) = &mut self.model else { return Err(SampleError::Cancelled) };
        let denoised = model.denoise(x, level)?;
        self.now.denoised.borrow_mut().clone_from(&denoised);
        Ok(denoised)
    }
}
