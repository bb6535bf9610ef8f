//! ControlNets of a pipeline.

use super::{Pipeline, Settings};
use crate::controlnet::{ControlFile, ControlKind, ControlNet, ControlType, Lllite, NO_CONTROLS, T2iAdapter};
use crate::families::Model;
use crate::image::Image;
use crate::latents::{LatentShape, Latents};
use crate::network::{PreparedControl, PreparedNetwork, StepPosition, acts};
use crate::params::Params;
use crate::setting::{Bounds, Setting, SettingProblem};
use crate::stage::LoadedNetwork;
use crate::{Error, Listener, loading};
use latent_tensor::{Device, Precision, Tensor};
use std::fmt;
use std::sync::Arc;

/// How strongly a ControlNet may act.
const STRENGTHS: Bounds = Bounds::new(0.0, 10.0);

/// A network in memory that steers the model's own.
#[derive(Clone, Debug)]
pub(super) enum LoadedControl {
    /// A ControlNet, with all of its weights or as a Control-LoRA.
    Net(Arc<ControlNet>),
    /// A ControlNet-LLLite.
    Lllite(Arc<Lllite>),
}

/// A ControlNet, the image that it sees, and how it acts.
#[derive(Clone)]
pub struct Control {
    /// The network.
    pub net: Arc<ControlFile>,
    /// What it sees, of the size that is drawn, or of the task's image.
    pub image: Image,
    /// What the image is, for a network that sees several kinds (ControlNet-Union).
    pub control_type: Option<ControlType>,
    /// How strongly it acts, from 0 to 10: 1 as it was trained, 0 not at all.
    pub strength: f64,
    /// The fraction of the steps, from 0 to 1, after which it acts (`control_guidance_start` of diffusers).
    pub start: f64,
    /// The fraction of the steps after which it no longer acts (`control_guidance_end`).
    pub end: f64,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("net", &self.net.label())
            .field("image", &[self.image.width, self.image.height])
            .field("control_type", &self.control_type)
            .field("strength", &self.strength)
            .field("start", &self.start)
            .field("end", &self.end)
            .finish()
    }
}

impl Control {
    /// A ControlNet that acts in every step, as it was trained.
    #[must_use]
    pub fn new(net: Arc<ControlFile>, image: Image) -> Control {
        Control { net, image, control_type: None, strength: 1.0, start: 0.0, end: 1.0 }
    }

    fn check(&self, model: &Model) -> Result<(), Error> {
        let Control { strength, start, end, .. } = *self;
        SettingProblem::check_range(strength, STRENGTHS, Some("1"))
            .map_err(|problem| Error::setting(Setting::ControlStrength, problem))?;
        if !(0.0 <= start && start <= end && end <= 1.0) {
            let reason = format!("{start} to {end} is not a part of the steps; 0 to 1 is all of them");
            return Err(Error::setting(Setting::ControlSpan, reason));
        }
        self.net.check_fits(model)?;
        self.net.check_type(self.control_type)
    }

    /// The image as a tensor `[1, height, width, 3]` of 0..1, padded to whole elements of a latent.
    fn hint(&self, [width, height]: [usize; 2], factor: usize) -> Result<Tensor, Error> {
        let image = self.image.padded_to(factor);
        if [image.width, image.height] != [width, height] || image.rgb.len() != 3 * width * height {
            let Image { width: w, height: h, .. } = self.image;
            let problem = SettingProblem::SizeMismatch { given: [w, h], expected: [width, height] };
            return Err(Error::setting(Setting::ControlImage, problem));
        }
        let values: Vec<f32> = image.rgb.iter().map(|byte| f32::from(*byte) / 255.0).collect();
        Ok(Tensor::from_f32(&[1, height, width, 3], &values)?)
    }

    /// As [`Control::hint`], for a larger size.
    fn enlarged_hint(&self, [width, height]: [usize; 2], factor: usize) -> Result<Tensor, Error> {
        let own = [self.image.width, self.image.height].map(|side| side.next_multiple_of(factor));
        let planes = Latents::from_channels_last(&self.hint(own, factor)?)?;
        planes.bilinear([height, width]).channels_last(0..1)
    }

    /// Whether it acts in any of the steps.
    fn acts_in_any(&self, steps: usize) -> bool {
        (0..steps).any(|step| acts(self.strength, [self.start, self.end], StepPosition { step, steps }))
    }
}

impl Pipeline {
    /// Draws with these ControlNets from now on, and with no others. What several add is summed. A network is loaded when
    /// it first acts, and leaves memory with the denoiser. In a pipeline with a refiner, they act on the base model alone.
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

    /// The networks that act in a run of `steps`, loaded if they are not in memory, with the images that they see; in a
    /// second pass their images are enlarged.
    pub(super) fn prepared_controls(
        &mut self,
        latents: LatentShape,
        is_second_pass: bool,
        steps: usize,
        listener: &mut Listener<'_>,
    ) -> Result<Vec<PreparedControl>, Error> {
        let factor = self.model.vae.factor();
        let drawn = [latents.width * factor, latents.height * factor];
        let mut prepared = Vec::new();
        for control in self.controls.clone() {
            let hint = if is_second_pass {
                control.enlarged_hint(drawn, factor)?
            } else {
                control.hint(drawn, factor)?
            };
            if control.acts_in_any(steps) {
                let network = self.prepared_network(&control.net, &hint, latents, listener)?;
                let Control { control_type, strength, start, end, .. } = control;
                prepared.push(PreparedControl { network, control_type, strength, span: [start, end] });
            }
        }
        Ok(prepared)
    }

    /// A network with the image that it sees.
    fn prepared_network(
        &mut self,
        file: &Arc<ControlFile>,
        hint: &Tensor,
        latents: LatentShape,
        listener: &mut Listener<'_>,
    ) -> Result<PreparedNetwork, Error> {
        if let ControlKind::T2iAdapter(config) = file.kind() {
            let load = |params: &Params<'_>| T2iAdapter::load(params, config);
            let (network, cpu) = (LoadedNetwork::T2iAdapter, (&Device::Cpu, Precision::F32));
            let adapter = loading::load(network, file.weights().clone(), cpu, None, load, listener)?;
            return Ok(PreparedNetwork::T2iAdapter(adapter.forward(hint)?));
        }
        Ok(match self.loaded_control(file, listener)? {
            LoadedControl::Net(net) => {
                let hint = net.embed(hint)?.to(&Device::Cpu)?;
                PreparedNetwork::ControlNet(net, hint)
            }
            LoadedControl::Lllite(net) => {
                let embeddings = net.embed(hint, [latents.height, latents.width])?;
                PreparedNetwork::Lllite(net, embeddings)
            }
        })
    }

    /// The network of a file, loaded if it is not in memory.
    fn loaded_control(
        &mut self,
        file: &Arc<ControlFile>,
        listener: &mut Listener<'_>,
    ) -> Result<LoadedControl, Error> {
        if let Some((_, net)) = self.control_nets.iter().find(|(from, _)| Arc::ptr_eq(from, file)) {
            return Ok(net.clone());
        }
        let (wraps, place) = (self.wraps(), (&self.device, self.precision));
        let weights = file.weights().clone();
        let net = match file.kind() {
            ControlKind::ControlNet(config) => {
                let load = |params: &Params<'_>| ControlNet::load(&params.wrapping(wraps), config);
                let part = LoadedNetwork::ControlNet;
                LoadedControl::Net(Arc::new(loading::load(part, weights, place, None, load, listener)?))
            }
            ControlKind::ControlLora(config) => {
                let changed = file.control_lora(config, &self.model)?;
                let load = |params: &Params<'_>| changed.load(&params.wrapping(wraps));
                let (part, weights) = (LoadedNetwork::ControlNet, changed.weights().clone());
                LoadedControl::Net(Arc::new(loading::load(part, weights, place, None, load, listener)?))
            }
            ControlKind::Lllite(config) => {
                let unet = self.model.require_unet(NO_CONTROLS)?;
                let load = |params: &Params<'_>| Lllite::load(params, config, unet);
                let part = LoadedNetwork::Lllite;
                LoadedControl::Lllite(Arc::new(loading::load(part, weights, place, None, load, listener)?))
            }
            ControlKind::T2iAdapter(_) => unreachable!("it is not kept"),
        };
        self.control_nets.push((file.clone(), net.clone()));
        Ok(net)
    }
}
