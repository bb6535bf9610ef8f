//! From words to pictures: text encoder, sampler around the UNet, VAE.

mod conditioning;
mod denoiser;
mod loras;
mod picture;
mod settings;
mod sizes;

pub use conditioning::{Conditioning, Pooled};
pub use picture::Picture;
pub use settings::{MAX_SIDE, Settings};
pub use sizes::PictureSizes;

use crate::Error;
use crate::families::Model;
use crate::lora::Merge;
use crate::params::Params;
use crate::rng::{Noise, PerPicture};
use crate::samplers::{Prediction, Run, Step};
use crate::text::{PartEncoder, TextPart};
use crate::unet::UNet;
use crate::vae::VaeDecoder;
use denoiser::UNetDenoiser;
use latent_loader::Checkpoint;
use latent_tensor::{Device, Tensor};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What a pipeline is doing, for progress bars and previews. The listener answers whether to go on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A part of the model is being read.
    Loading {
        /// "text encoder", "UNet" or "VAE".
        component: &'static str,
        /// Bytes read so far.
        read: u64,
        /// Bytes of the part in the file.
        total: u64,
    },
    /// The sampling begins, or a step of it ended.
    Step {
        /// Steps done: from 0 to `total`.
        step: usize,
        /// Steps in all.
        total: usize,
        /// The latents so far, in the order of [`Latents::values`]: clean ones plus `sigma` times noise.
        latents: &'a [f32],
        /// The noise level that is left.
        sigma: f64,
    },
    /// The decoding begins, or a picture was decoded.
    Decoded {
        /// Pictures done: from 0 to `total`.
        picture: usize,
        /// Pictures in all.
        total: usize,
    },
}

/// Listens to events; `ControlFlow::Break` cancels.
pub type Listener<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// Latents of some pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Latents {
    /// `[pictures, channels, height, width]`, the order in which random numbers are drawn.
    pub values: Vec<f32>,
    /// Number of pictures.
    pub pictures: usize,
    /// Channels of a latent.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// How much memory a pipeline may take for its speed. Pictures are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// As much as the fastest way takes.
    #[default]
    Plenty,
    /// Little: a picture is decoded in bands, which takes longer.
    Little,
}

/// A model ready to draw. Its parts are read when they are first needed.
pub struct Pipeline {
    model: Model,
    device: Device,
    memory: Memory,
    merge: Option<Arc<Merge>>,
    /// Empty, or all.
    text_encoders: Vec<PartEncoder>,
    unet: Option<UNet>,
    decoder: Option<VaeDecoder>,
}

impl Pipeline {
    /// Recognises a checkpoint. No weight is read yet.
    ///
    /// # Errors
    /// A checkpoint that is not supported or not whole.
    pub fn open(checkpoint: Checkpoint) -> Result<Pipeline, Error> {
        let model = Model::detect(&Arc::new(checkpoint))?;
        Ok(Pipeline {
            model,
            device: Device::Cpu,
            memory: Memory::default(),
            merge: None,
            text_encoders: Vec::new(),
            unet: None,
            decoder: None,
        })
    }

    /// With so much memory.
    #[must_use]
    pub fn with_memory(mut self, memory: Memory) -> Pipeline {
        self.memory = memory;
        self
    }

    /// With a UNet that predicts this, whatever the checkpoint seems to be.
    #[must_use]
    pub fn with_prediction(mut self, prediction: Prediction) -> Pipeline {
        self.model.prediction = prediction;
        self
    }

    /// Draws on another device from now on. Parts that were read are dropped; they are read again when they are needed.
    /// After an error of a GPU this starts afresh, on the CPU or on the GPU opened anew.
    pub fn set_device(&mut self, device: Device) {
        self.text_encoders.clear();
        (self.unet, self.decoder) = (None, None);
        self.device.trim();
        self.device = device;
    }

    /// Where it draws.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the checkpoint is.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Draws a picture for each seed of `settings`, all in one batch. A picture's bytes are those of its seed drawn
    /// alone. Each part of the model leaves memory when its stage is over.
    ///
    /// # Errors
    /// Settings that the model cannot follow (found before anything is read), unreadable weights, a cancelled run.
    ///
    /// # Examples
    /// ```no_run
    /// # use latent_diffusion::{Pipeline, Settings, loader::Checkpoint};
    /// # use std::{ops::ControlFlow, path::Path};
    /// let mut pipeline = Pipeline::open(Checkpoint::open(Path::new("v1-5-pruned.safetensors"))?)?;
    /// let settings = Settings { seeds: vec![42], ..Settings::default() };
    /// let pictures = pipeline.text_to_image("a red fox", "", &settings, &mut |_| ControlFlow::Continue(()))?;
    /// assert_eq!(pictures[0].rgb.len(), 512 * 512 * 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn text_to_image(
        &mut self,
        prompt: &str,
        negative_prompt: &str,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Vec<Picture>, Error> {
        settings.check(&self.model)?;
        let negative: &[&str] = if negative_prompt.is_empty() { &[] } else { &[negative_prompt] };
        let conditioning = self.encode(&[prompt], negative, settings.clip_skip, listener)?;
        self.unload_text_encoder();
        let latents = self.sample(&conditioning, settings, listener)?;
        self.unload_unet();
        let pictures = self.decode(&latents, listener)?;
        self.unload_decoder();
        Ok(pictures)
    }

    /// Encodes prompts, one for all pictures or one for each, and as many negative ones. Without negative ones the model is
    /// steered away from what it was trained to take for nothing: an empty prompt, or zeros (SDXL).
    ///
    /// # Errors
    /// A clip skip beyond the layers, unreadable weights, a cancelled run.
    pub fn encode(
        &mut self,
        prompts: &[&str],
        negative_prompts: &[&str],
        clip_skip: usize,
        listener: &mut Listener<'_>,
    ) -> Result<Conditioning, Error> {
        if self.text_encoders.is_empty() {
            let load = |part: &TextPart| {
                let load = |params: &Params<'_>| PartEncoder::load(params, part);
                load_part(
                    &self.model,
                    self.merge.clone(),
                    &self.device,
                    "text encoder",
                    part.scope,
                    load,
                    listener,
                )
            };
            self.text_encoders = self.model.text.iter().map(load).collect::<Result<_, _>>()?;
        }
        let zero_negative = self.model.zero_negative;
        Conditioning::encode(&self.text_encoders, prompts, negative_prompts, clip_skip, zero_negative)
    }

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
            self.unet = Some(load_part(
                &self.model,
                self.merge.clone(),
                &self.device,
                "UNet",
                "unet",
                load,
                listener,
            )?);
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

    /// Decodes latents to pictures, one at a time, so that a batch takes the memory of one. A VAE whose values pass the largest
    /// `f16` of a GPU decodes in `f32` there, from the first such picture on.
    ///
    /// # Errors
    /// Unreadable weights, a cancelled run, values that are no numbers.
    pub fn decode(&mut self, latents: &Latents, listener: &mut Listener<'_>) -> Result<Vec<Picture>, Error> {
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.load_decoder(&self.device, listener)?,
        };
        let mut pictures = Vec::new();
        let total = latents.pictures;
        tell(listener, Event::Decoded { picture: 0, total })?;
        for picture in 0..total {
            let latent = latents.channels_last(picture..picture + 1)?;
            let mut pixels = self.pixels(&decoder, &latent)?;
            let is_finite = expect_finite("VAE", pixels.f32s()?).is_ok();
            if let Some(exact) = decoder.device().more_exact().filter(|_| !is_finite) {
                decoder = self.load_decoder(&exact, listener)?;
                pixels = self.pixels(&decoder, &latent)?;
            }
            expect_finite("VAE", pixels.f32s()?)?;
            pictures.extend(Picture::from_tensor(&pixels)?);
            tell(listener, Event::Decoded { picture: picture + 1, total })?;
        }
        self.decoder = Some(decoder);
        Ok(pictures)
    }

    fn load_decoder(&self, device: &Device, listener: &mut Listener<'_>) -> Result<VaeDecoder, Error> {
        let load = |params: &Params<'_>| VaeDecoder::load(params, &self.model.vae);
        load_part(&self.model, self.merge.clone(), device, "VAE", "vae", load, listener)
    }

    /// A decoded picture in main memory.
    fn pixels(&self, decoder: &VaeDecoder, latent: &Tensor) -> Result<Tensor, Error> {
        let pixels = match self.memory {
            Memory::Plenty => decoder.decode(latent)?,
            Memory::Little => decoder.decode_in_bands(latent)?,
        };
        Ok(pixels.to(&Device::Cpu)?)
    }

    /// Drops the text encoders and the memory of its stage.
    pub fn unload_text_encoder(&mut self) {
        self.text_encoders.clear();
        self.device.trim();
    }

    /// Drops the UNet and the memory of its stage.
    pub fn unload_unet(&mut self) {
        self.unet = None;
        self.device.trim();
    }

    /// Drops the VAE and the memory of its stage.
    pub fn unload_decoder(&mut self) {
        self.decoder = None;
        self.device.trim();
    }
}

impl Latents {
    /// Zeros.
    #[must_use]
    pub fn zeros(pictures: usize, channels: usize, height: usize, width: usize) -> Latents {
        Latents { values: vec![0.0; pictures * channels * height * width], pictures, channels, height, width }
    }

    /// Some of the pictures as a tensor `[n, height, width, channels]`.
    ///
    /// # Errors
    /// None for pictures that exist.
    pub fn channels_last(&self, pictures: std::ops::Range<usize>) -> Result<Tensor, Error> {
        let (area, channels) = (self.height * self.width, self.channels);
        let mut out = Tensor::zeros(&[pictures.len(), self.height, self.width, channels])?;
        let from = self.values[pictures.start * channels * area..].chunks_exact((channels * area).max(1));
        for (from, to) in from.zip(out.f32s_mut()?.chunks_exact_mut((channels * area).max(1))) {
            for (pixel, to) in to.chunks_exact_mut(channels).enumerate() {
                for (channel, to) in to.iter_mut().enumerate() {
                    *to = from[channel * area + pixel];
                }
            }
        }
        Ok(out)
    }
}

/// Tells the listener; its wish to stop is an error.
fn tell(listener: &mut Listener<'_>, event: Event<'_>) -> Result<(), Error> {
    if listener(event).is_break() { Err(Error::Cancelled) } else { Ok(()) }
}

/// Reads one part of the model and tells the listener about it.
fn load_part<T>(
    model: &Model,
    merge: Option<Arc<Merge>>,
    device: &Device,
    component: &'static str,
    scope: &str,
    load: impl FnOnce(&Params<'_>) -> Result<T, Error>,
    listener: &mut Listener<'_>,
) -> Result<T, Error> {
    let weights = model.weights.scope(scope);
    let total = weights.total_bytes();
    let state = RefCell::new((0, ControlFlow::Continue(()), listener));
    let on_read = |bytes: u64| {
        let (read, flow, listener) = &mut *state.borrow_mut();
        *read += bytes;
        if flow.is_continue() {
            *flow = listener(Event::Loading { component, read: *read, total });
        }
    };
    let part = load(&Params::new(weights, &on_read).on(device).merged(merge))?;
    if state.borrow().1.is_break() { Err(Error::Cancelled) } else { Ok(part) }
}

/// Fails if a stage computed a value that is no number.
fn expect_finite(stage: &'static str, values: &[f32]) -> Result<(), Error> {
    if values.iter().all(|v| v.is_finite()) { Ok(()) } else { Err(Error::NotFinite { stage }) }
}
