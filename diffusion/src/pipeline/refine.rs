//! A second model that takes over when little noise is left (Podell et al., SDXL, 2023, section 2.5).

use super::guided_denoiser::{DenoiserInputs, GuidedDenoiser};
use super::step_state::StepState;
use super::{Conditioning, Pipeline, Settings};
use crate::families::NetworkInput;
use crate::latents::LatentShape;
use crate::samplers::{Denoiser, GuidedEstimate, SampleError};
use crate::schedule::NoiseLevel;
use crate::setting::{Bounds, Setting, SettingProblem};
use crate::{Error, Event, Listener};
use latent_tensor::Device;
use latent_tensor::Tensor;
use std::cell::RefCell;
use std::rc::Rc;

/// When a refiner may take over.
const STARTS: Bounds = Bounds::new(0.0, 1.0).above_min().below_max();

/// A second model, and when it takes over.
pub(super) struct Refiner {
    pub(super) pipeline: Box<Pipeline>,
    /// The fraction of the time steps that is run without it.
    start: f64,
}

impl Refiner {
    /// The same for a pipeline on another device ([`Pipeline::beside`]).
    pub(super) fn beside(&self, device: Device) -> Refiner {
        Refiner { pipeline: Box::new(self.pipeline.beside(device)), start: self.start }
    }
}

impl Pipeline {
    /// Lets another model of the same kind of latents finish each image, or none. `start` is the fraction of the time
    /// steps, above 0 and below 1, after which it takes over: 0.8 is usual for SDXL's refiner. It continues from the same
    /// latents, under the same sampler; this pipeline's VAE decodes. Only one of both networks is in memory at any time.
    /// `start` counts in time steps, as `denoising_end` and `denoising_start` of diffusers do.
    ///
    /// The refiner moves to this pipeline's device, and is conditioned on what [`Pipeline::encode`] gives from then on.
    ///
    /// # Errors
    /// A `start` that is out of range, a model of other latents, or one that has a refiner of its own. Then nothing has
    /// changed.
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
        SettingProblem::check_range(start, STARTS, Some("0.8"))
            .map_err(|problem| Error::setting(Setting::RefinerStart, problem))?;
        let (own, other) = (&self.model.vae, &pipeline.model.vae);
        let latents = |vae: &crate::vae::VaeConfig| (vae.latent_channels, vae.factor(), vae.scaling_factor);
        if latents(own) != latents(other) || own.statistics != other.statistics {
            return Err(Error::Unsupported {
                file: pipeline.model.weights.label().to_owned(),
                reason: format!(
                    "is a {} checkpoint, whose latents differ from those of {}; a refiner needs the same",
                    pipeline.model.family.label, self.model.family.label
                ),
            });
        }
        if pipeline.model.input != NetworkInput::Latent {
            let label = pipeline.model.input.label();
            let reason = format!("it is a model of {label}; it must be one that takes the latent alone");
            return Err(Error::setting(Setting::Refiner, SettingProblem::Unsupported(reason)));
        }
        if pipeline.refiner.is_some() {
            let reason = "it has a refiner of its own; there can be one, not two".to_owned();
            return Err(Error::setting(Setting::Refiner, SettingProblem::Conflict(reason)));
        }
        pipeline.set_device(self.device.clone());
        pipeline.vae_tiling = self.vae_tiling;
        pipeline.set_seamless(self.seamless);
        self.refiner = Some(Refiner { pipeline: Box::new(pipeline), start });
        Ok(())
    }

    /// The model of a sampling run: `base`, and after it the refiner, where there is one and the conditioning has its part.
    pub(super) fn with_refiner<'a>(
        &'a mut self,
        base: GuidedDenoiser,
        (shape, state): (LatentShape, &Rc<StepState>),
        conditioning: &'a Conditioning,
        settings: &'a Settings,
        listener: &'a RefCell<&mut Listener<'_>>,
    ) -> RefinedDenoiser<'a> {
        let mut model = RefinedDenoiser {
            model: Some(base),
            state: state.clone(),
            below: f64::NEG_INFINITY,
            next: None,
            listener: Box::new(|event: Event<'_>| (*listener.borrow_mut())(event)),
        };
        if let (Some(Refiner { pipeline, start }), Some(conditioning)) =
            (&mut self.refiner, &conditioning.refiner)
        {
            // From now on only the base's denoiser holds its network.
            self.network = None;
            self.control_nets.clear();
            let device = &self.device;
            model.below = self.model.noise_model().timestep_of_part(1.0 - *start);
            let state = state.clone();
            model.next = Some(Box::new(move || {
                device.trim();
                let mut notify = |event: Event<'_>| (*listener.borrow_mut())(event);
                let (extra_channels, references) = (None, &[][..]);
                let inputs = DenoiserInputs {
                    shape,
                    extra_channels,
                    references,
                    conditioning,
                    settings,
                    state: &state,
                };
                let next = pipeline.denoiser(&inputs, &mut notify);
                pipeline.network = None;
                next
            }));
        }
        model
    }
}

/// Loads the refiner's network.
type LoadRefiner<'a> = Box<dyn FnOnce() -> Result<GuidedDenoiser, Error> + 'a>;

/// The base model, and from a time step on the refiner.
pub(super) struct RefinedDenoiser<'a> {
    /// `None` only after an error.
    model: Option<GuidedDenoiser>,
    /// Records what is predicted.
    state: Rc<StepState>,
    /// The refiner takes over below this time step.
    below: f64,
    next: Option<LoadRefiner<'a>>,
    /// Is told of the blocks of the network.
    listener: Box<Listener<'a>>,
}

impl<'a> RefinedDenoiser<'a> {
    /// The model of a level.
    fn at(&mut self, level: NoiseLevel) -> Result<(&mut GuidedDenoiser, &mut Listener<'a>), SampleError> {
        if level.timestep < self.below
            && let Some(next) = self.next.take()
        {
            // The base leaves memory before the refiner is loaded.
            self.model = None;
            self.model = Some(next()?);
        }
        let Some(model) = &mut self.model else { return Err(SampleError::Cancelled) };
        Ok((model, &mut *self.listener))
    }
}

impl Denoiser for RefinedDenoiser<'_> {
    fn denoise(&mut self, x: &Tensor, level: NoiseLevel) -> Result<Tensor, SampleError> {
        let (model, listener) = self.at(level)?;
        let denoised = model.denoise(x, level, listener)?;
        self.state.denoised.replace(Some(denoised.clone()));
        Ok(denoised)
    }

    fn denoise_apart(&mut self, x: &Tensor, level: NoiseLevel) -> Result<GuidedEstimate, SampleError> {
        let (model, listener) = self.at(level)?;
        let estimate = model.denoise_apart(x, level, listener)?;
        self.state.denoised.replace(Some(estimate.denoised.clone()));
        Ok(estimate)
    }
}
