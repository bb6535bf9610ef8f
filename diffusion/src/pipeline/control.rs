//! ControlNets of a pipeline.

use super::now::Now;
use super::{Image, Latents, Listener, Pipeline, Settings};
use crate::Error;
use crate::controlnet::{ControlFile, ControlNet, ControlNetResiduals};
use crate::families::Model;
use crate::params::Params;
use crate::unet::Condition;
use latent_tensor::{Device, Tensor};
use std::rc::Rc;
use std::sync::Arc;

/// Strongest that a ControlNet can act.
const MOST_STRENGTH: f64 = 10.0;

/// A ControlNet, the image that it sees, and how it acts.
#[derive(Clone)]
pub struct Control {
    /// The network.
    pub net: Arc<ControlFile>,
    /// What it sees, of the size that is drawn, or of the task's image.
    pub image: Image,
    /// How strongly it acts: 1 as it was trained, 0 not at all.
    pub strength: f64,
    /// The part of the steps, from 0 to 1, after which it acts (`control_guidance_start` of diffusers).
    pub start: f64,
    /// The part of the steps after which it acts no more (`control_guidance_end`).
    pub end: f64,
}

impl Control {
    /// One that acts in every step, as it was trained.
    #[must_use]
    pub fn new(net: Arc<ControlFile>, image: Image) -> Control {
        Control { net, image, strength: 1.0, start: 0.0, end: 1.0 }
    }

    /// Whether it acts in step `index` of `steps`, as in diffusers' pipelines.
    fn acts(&self, index: usize, steps: usize) -> bool {
        let part = |steps_done: usize| steps_done as f64 / steps.max(1) as f64;
        self.strength != 0.0 && part(index) >= self.start && part(index + 1) <= self.end
    }

    fn check(&self, model: &Model) -> Result<(), Error> {
        let Control { strength, start, end, .. } = *self;
        if !(0.0..=MOST_STRENGTH).contains(&strength) {
            let reason = format!("{strength} is not in 0 to {MOST_STRENGTH}; 1 is usual");
            return Err(Error::Setting { name: "control strength", reason });
        }
        if !(0.0 <= start && start <= end && end <= 1.0) {
            let reason = format!("{start} to {end} is no part of the steps; 0 to 1 is all of them");
            return Err(Error::Setting { name: "control start and end", reason });
        }
        self.net.check_fits(model)
    }

    /// The image as a tensor `[1, height, width, 3]` of 0..1, filled up to whole elements of a latent.
    fn hint(&self, [width, height]: [usize; 2], factor: usize) -> Result<Tensor, Error> {
        let image = self.image.padded_to(factor);
        if [image.width, image.height] != [width, height] || image.rgb.len() != 3 * width * height {
            let Image { width: w, height: h, .. } = self.image;
            let reason = format!("{w}x{h} pixels are given, and {width}x{height} are drawn");
            return Err(Error::Setting { name: "control image", reason });
        }
        let values: Vec<f32> = image.rgb.iter().map(|byte| f32::from(*byte) / 255.0).collect();
        Ok(Tensor::from_f32(&[1, height, width, 3], &values)?)
    }

    /// As [`Control::hint`], for a larger size.
    fn stretched(&self, [width, height]: [usize; 2], factor: usize) -> Result<Tensor, Error> {
        let own = [self.image.width, self.image.height].map(|side| side.next_multiple_of(factor));
        let planes = Latents::from_channels_last(&self.hint(own, factor)?)?;
        planes.bilinear([height, width]).channels_last(0..1)
    }
}

impl Pipeline {
    /// Draws with these ControlNets from now on, and with no others. What several say is added up. A network is read when
    /// it first acts, and leaves memory with the UNet. In a pipeline with a refiner, the base model alone is steered.
    ///
    /// # Errors
    /// [`Error::Setting`], and [`Error::Unsupported`] for a network of another family. Then nothing has changed.
    ///
    /// # Examples
    /// ```no_run
    /// # use latent_diffusion::{Control, Image, Pipeline, loader::Checkpoint};
    /// # use latent_diffusion::controlnet::{Canny, ControlFile, canny};
    /// # use std::{path::Path, sync::Arc};
    /// # let photo = Image { width: 512, height: 512, rgb: vec![0; 512 * 512 * 3] };
    /// let open = |file: &str| Checkpoint::open(Path::new(file));
    /// let mut pipeline = Pipeline::open(open("v1-5-pruned.safetensors")?)?;
    /// let net = Arc::new(ControlFile::open(open("control_v11p_sd15_canny.safetensors")?)?);
    /// pipeline.set_controls(vec![Control::new(net, canny(&photo, &Canny::default())?)])?;
    /// # Ok::<(), latent_diffusion::Error>(())
    /// ```
    pub fn set_controls(&mut self, controls: Vec<Control>) -> Result<(), Error> {
        controls.iter().try_for_each(|control| control.check(&self.model))?;
        self.control_nets.clear();
        self.controls = controls;
        Ok(())
    }

    /// Refuses images that are not of the size that is drawn.
    pub(super) fn check_controls(&self, settings: &Settings) -> Result<(), Error> {
        let (width, height) = settings.size(&self.model)?;
        let factor = self.model.vae.factor();
        self.controls.iter().try_for_each(|control| control.hint([width, height], factor).map(drop))
    }

    /// The networks that act in a walk, read if they are not there yet, with what they see: for a second pass their images
    /// stretched.
    pub(super) fn steering(
        &mut self,
        latents: &Latents,
        is_enlarged: bool,
        now: &Rc<Now>,
        listener: &mut Listener<'_>,
    ) -> Result<Steering, Error> {
        let steps = now.steps;
        let factor = self.model.vae.factor();
        let drawn = [latents.width * factor, latents.height * factor];
        let mut seen = Vec::new();
        for control in self.controls.clone() {
            let hint =
                if is_enlarged { control.stretched(drawn, factor)? } else { control.hint(drawn, factor)? };
            if (0..steps).any(|step| control.acts(step, steps)) {
                let net = self.control_net(&control.net, listener)?;
                seen.push(Seen { hint: net.embed(&hint)?.to(&Device::Cpu)?, net, control });
            }
        }
        Ok(Steering { seen, now: now.clone() })
    }

    fn control_net(
        &mut self,
        file: &Arc<ControlFile>,
        listener: &mut Listener<'_>,
    ) -> Result<Arc<ControlNet>, Error> {
        if let Some((_, net)) = self.control_nets.iter().find(|(from, _)| Arc::ptr_eq(from, file)) {
            return Ok(net.clone());
        }
        let load = |params: &Params<'_>| ControlNet::load(params, file.config());
        let net =
            super::load::read("ControlNet", file.weights().clone(), &self.device, None, load, listener)?;
        let net = Arc::new(net);
        self.control_nets.push((file.clone(), net.clone()));
        Ok(net)
    }
}

/// A network and the image that it sees, embedded, in main memory.
struct Seen {
    net: Arc<ControlNet>,
    hint: Tensor,
    control: Control,
}

/// The networks that steer a walk.
#[derive(Default)]
pub(super) struct Steering {
    seen: Vec<Seen>,
    now: Rc<Now>,
}

impl Steering {
    /// For a batch that is told these.
    pub(super) fn told(&self, text: &Tensor, added: Option<&Tensor>) -> Result<ControlConditioning, Error> {
        let copies = text.dims()[0];
        let told = |seen: &Seen| -> Result<Acting, Error> {
            let mut dims = seen.hint.dims().to_vec();
            dims[0] = copies;
            let hint = Tensor::from_f32(&dims, &seen.hint.f32s()?.repeat(copies))?;
            Ok(Acting {
                condition: seen.net.condition(text, added)?,
                hint: hint.to(seen.net.device())?,
                net: seen.net.clone(),
                control: seen.control.clone(),
            })
        };
        let acting = self.seen.iter().map(told).collect::<Result<_, _>>()?;
        Ok(ControlConditioning { acting, now: self.now.clone() })
    }
}

/// A network with all that is the same in every step.
struct Acting {
    net: Arc<ControlNet>,
    /// A copy for each of the batch.
    hint: Tensor,
    condition: Condition,
    control: Control,
}

/// The networks that steer a batch.
pub(super) struct ControlConditioning {
    acting: Vec<Acting>,
    now: Rc<Now>,
}

impl ControlConditioning {
    /// Which networks act in this step.
    pub(super) fn acting(&self) -> Vec<bool> {
        let Now { step, steps, .. } = &*self.now;
        self.acting.iter().map(|acting| acting.control.acts(step.get(), *steps)).collect()
    }

    /// What is added to the UNet in this step for its input without what is beside the latents; nothing where none acts.
    pub(super) fn residuals(
        &self,
        x: &Tensor,
        timesteps: &[f32],
    ) -> Result<Option<ControlNetResiduals>, Error> {
        let mut sum: Option<ControlNetResiduals> = None;
        for (Acting { net, hint, condition, control }, acts) in self.acting.iter().zip(self.acting()) {
            if acts {
                let own = net.forward(x, timesteps, hint, condition, control.strength as f32)?;
                sum = Some(match sum {
                    Some(sum) => sum.plus(&own)?,
                    None => own,
                });
            }
        }
        Ok(sum)
    }
}
