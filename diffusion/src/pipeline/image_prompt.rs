//! Image prompts of a pipeline: IP-Adapters and the images that they see.

use super::Pipeline;
use crate::families::Model;
use crate::image::Image;
use crate::image_encoder::{EncodedImage, ImageEncoder, ImageEncoderFile};
use crate::ip_adapter::{IpAdapter, IpAdapterFile};
use crate::network::{PreparedImagePrompt, StepPosition, acts};
use crate::params::Params;
use crate::setting::{Bounds, Setting, SettingProblem};
use crate::stage::LoadedNetwork;
use crate::{Error, Listener, loading};
use latent_tensor::{Device, Tensor};
use std::fmt;
use std::sync::Arc;

/// How strongly an image prompt may act.
const STRENGTHS: Bounds = Bounds::new(-10.0, 10.0);

/// An image as a prompt, by an IP-Adapter, and how it acts.
#[derive(Clone)]
pub struct ImagePrompt {
    /// The adapter.
    pub adapter: Arc<IpAdapterFile>,
    /// What sees the image for it.
    pub encoder: Arc<ImageEncoderFile>,
    /// The image, of any size; the middle of it is seen.
    pub image: Image,
    /// How strongly it acts, from -10 to 10: 1 as it was trained, 0 not at all (`ip_adapter_scale` of diffusers). About 0.6 leaves
    /// room for the prompt.
    pub strength: f64,
    /// The fraction of the steps, from 0 to 1, after which it acts.
    pub start: f64,
    /// The fraction of the steps after which it no longer acts.
    pub end: f64,
}

impl fmt::Debug for ImagePrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImagePrompt")
            .field("adapter", &self.adapter.label())
            .field("encoder", &self.encoder.label())
            .field("image", &[self.image.width, self.image.height])
            .field("strength", &self.strength)
            .field("start", &self.start)
            .field("end", &self.end)
            .finish()
    }
}

impl ImagePrompt {
    /// An image that acts in every step, as the adapter was trained.
    #[must_use]
    pub fn new(adapter: Arc<IpAdapterFile>, encoder: Arc<ImageEncoderFile>, image: Image) -> ImagePrompt {
        ImagePrompt { adapter, encoder, image, strength: 1.0, start: 0.0, end: 1.0 }
    }

    fn check(&self, model: &Model) -> Result<(), Error> {
        let ImagePrompt { strength, start, end, .. } = *self;
        SettingProblem::check_range(strength, STRENGTHS, Some("0.6 to 1"))
            .map_err(|problem| Error::setting(Setting::ImagePromptStrength, problem))?;
        if !(0.0 <= start && start <= end && end <= 1.0) {
            let reason = format!("{start} to {end} is not a part of the steps; 0 to 1 is all of them");
            return Err(Error::setting(Setting::ImagePromptSpan, reason));
        }
        let Image { width, height, rgb } = &self.image;
        if rgb.is_empty() || rgb.len() != 3 * width * height {
            let reason = format!("an image of {width}x{height} pixels has {} values", rgb.len());
            return Err(Error::setting(Setting::Image, reason));
        }
        self.adapter.check_fits(model)?;
        self.adapter.check_encoder(&self.encoder)
    }

    /// Whether it acts in any of the steps.
    fn acts_in_any(&self, steps: usize) -> bool {
        (0..steps).any(|step| acts(self.strength, [self.start, self.end], StepPosition { step, steps }))
    }
}

/// The image prompts of a pipeline and what is in memory of them.
#[derive(Debug, Default)]
pub(super) struct ImagePrompts {
    prompts: Vec<ImagePrompt>,
    /// Tokens of nothing and of the image, for those that have been encoded.
    tokens: Vec<Option<[Tensor; 2]>>,
    /// Adapters that are in memory.
    loaded: Vec<(Arc<IpAdapterFile>, Arc<IpAdapter>)>,
}

impl ImagePrompts {
    /// The same prompts, of which nothing is in memory.
    pub(super) fn unseen(&self) -> ImagePrompts {
        let tokens = self.prompts.iter().map(|_| None).collect();
        ImagePrompts { prompts: self.prompts.clone(), tokens, loaded: Vec::new() }
    }

    /// Drops the adapters; tokens stay.
    pub(super) fn unload(&mut self) {
        self.loaded.clear();
    }

    /// Bytes of the adapters' weights.
    pub(super) fn bytes(&self) -> u64 {
        let is_first = |i: usize, adapter: &Arc<IpAdapterFile>| {
            !self.prompts[..i].iter().any(|other| Arc::ptr_eq(&other.adapter, adapter))
        };
        let once = self.prompts.iter().enumerate().filter(|(i, prompt)| is_first(*i, &prompt.adapter));
        once.map(|(_, prompt)| prompt.adapter.weights().total_bytes()).sum()
    }
}

impl Pipeline {
    /// Draws with these image prompts from now on, and with no others. An adapter is loaded when it first acts, and leaves
    /// memory with the denoiser; its image is seen once, on the CPU. In a pipeline with a refiner, they act on the base model
    /// alone.
    ///
    /// # Errors
    /// [`Error::Setting`], and [`Error::Unsupported`] for an adapter of another family or an encoder of another adapter. Then
    /// nothing has changed.
    ///
    /// # Examples
    /// ```no_run
    /// # use latent_diffusion::{Image, ImagePrompt, Pipeline, loader::Checkpoint};
    /// # use latent_diffusion::{image_encoder::ImageEncoderFile, ip_adapter::IpAdapterFile};
    /// # use std::{path::Path, sync::Arc};
    /// # let photo = Image { width: 512, height: 512, rgb: vec![0; 512 * 512 * 3] };
    /// let open = |file: &str| Checkpoint::open(Path::new(file));
    /// let mut pipeline = Pipeline::open(open("v1-5-pruned.safetensors")?)?;
    /// let adapter = Arc::new(IpAdapterFile::open(open("ip-adapter_sd15.safetensors")?)?);
    /// let encoder = Arc::new(ImageEncoderFile::open(open("CLIP-ViT-H-14.safetensors")?)?);
    /// pipeline.set_image_prompts(vec![ImagePrompt::new(adapter, encoder, photo)])?;
    /// # Ok::<(), latent_diffusion::Error>(())
    /// ```
    pub fn set_image_prompts(&mut self, prompts: Vec<ImagePrompt>) -> Result<(), Error> {
        prompts.iter().try_for_each(|prompt| prompt.check(&self.model))?;
        self.image_prompts = ImagePrompts { prompts, ..ImagePrompts::default() }.unseen();
        Ok(())
    }

    /// The image prompts that act in a run of `steps`, their adapters loaded if they are not in memory.
    pub(super) fn prepared_image_prompts(
        &mut self,
        steps: usize,
        listener: &mut Listener<'_>,
    ) -> Result<Vec<PreparedImagePrompt>, Error> {
        let mut prepared = Vec::new();
        for (i, prompt) in self.image_prompts.prompts.clone().into_iter().enumerate() {
            if !prompt.acts_in_any(steps) {
                continue;
            }
            let adapter = self.ip_adapter(&prompt.adapter, listener)?;
            let tokens = match self.image_prompts.tokens[i].clone() {
                Some(tokens) => tokens,
                None => self.image_tokens(&prompt, &adapter, listener)?,
            };
            self.image_prompts.tokens[i] = Some(tokens.clone());
            let span = [prompt.start, prompt.end];
            prepared.push(PreparedImagePrompt { adapter, tokens, strength: prompt.strength, span });
        }
        Ok(prepared)
    }

    /// Tokens of nothing and of the image. The encoder leaves memory again.
    fn image_tokens(
        &self,
        prompt: &ImagePrompt,
        adapter: &IpAdapter,
        listener: &mut Listener<'_>,
    ) -> Result<[Tensor; 2], Error> {
        let file = &prompt.encoder;
        let load = |params: &Params<'_>| ImageEncoder::load(params, file.config());
        let (part, weights) = (LoadedNetwork::ImageEncoder, file.weights().clone());
        let encoder = loading::load(part, weights, (&Device::Cpu, self.precision), None, load, listener)?;
        let seen = encoder.encode(&prompt.image)?;
        // As the authors do it, the plain adapter gets a zero vector for nothing, and the others what is seen in zeros.
        let nothing = match prompt.adapter.config().sees_hidden_states() {
            true => encoder.encode_nothing()?,
            false => EncodedImage { embedding: Tensor::zeros(seen.embedding.dims())?, ..seen.clone() },
        };
        Ok([adapter.tokens(&nothing)?, adapter.tokens(&seen)?])
    }

    fn ip_adapter(
        &mut self,
        file: &Arc<IpAdapterFile>,
        listener: &mut Listener<'_>,
    ) -> Result<Arc<IpAdapter>, Error> {
        let loaded = &self.image_prompts.loaded;
        if let Some((_, adapter)) = loaded.iter().find(|(from, _)| Arc::ptr_eq(from, file)) {
            return Ok(adapter.clone());
        }
        let load = |params: &Params<'_>| IpAdapter::load(params, file.config());
        let (part, weights) = (LoadedNetwork::IpAdapter, file.weights().clone());
        let adapter =
            Arc::new(loading::load(part, weights, (&self.device, self.precision), None, load, listener)?);
        self.image_prompts.loaded.push((file.clone(), adapter.clone()));
        Ok(adapter)
    }
}
