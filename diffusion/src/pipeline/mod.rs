//! From words to images: text encoder, sampler around the UNet, VAE.

mod conditioning;
mod control;
mod decode;
mod denoiser;
mod drawing;
mod embeddings;
mod encode;
mod event;
mod exact;
mod guidance;
mod hires;
mod image;
mod latents;
mod load;
mod loras;
mod mask;
mod memory_estimate;
mod now;
mod prepare;
mod refine;
mod sample;
mod settings;
mod sizes;
mod start;
mod task;
mod texts;

pub use conditioning::{Conditioning, StepConditioning};
pub use control::Control;
pub(crate) use decode::expect_finite;
pub use drawing::{Drawing, DrawnStep, Request};
pub(crate) use event::tell;
pub use event::{Event, Listener};
pub use hires::{Hires, HiresUpscaler, UpscaleImage};
pub use image::{Image, Margins};
pub use latents::Latents;
pub(crate) use load::read;
pub use mask::Mask;
pub use memory_estimate::MemoryEstimate;
pub use prepare::PreparedTask;
pub use settings::{AestheticScores, MAX_SIDE, Settings};
pub use sizes::SizeConditioning;
pub use task::{Fill, Task};

use crate::Error;
use crate::controlnet::{ControlFile, ControlNet};
use crate::embeddings::LearnedEmbeddings;
use crate::families::{Model, Sources};
use crate::lora::Merge;
use crate::samplers::Prediction;
use crate::schedule::{Training, ZERO_SNR_DIFFUSERS};
use crate::taesd::TaesdFile;
use crate::text::PartEncoder;
use crate::unet::UNet;
use decode::Decoder;
use latent_loader::Checkpoint;
use latent_tensor::Device;
use refine::Refiner;
use std::sync::Arc;

/// How much memory a pipeline may take for its speed. Images are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VaeTiling {
    /// As much as the fastest way takes.
    #[default]
    Off,
    /// Little: an image is encoded and decoded in bands, which takes longer.
    Bands,
}

/// A model ready to draw. Its parts are read when they are first needed.
pub struct Pipeline {
    model: Model,
    device: Device,
    vae_tiling: VaeTiling,
    merge: Option<Arc<Merge>>,
    words: LearnedEmbeddings,
    /// Empty, or all.
    text_encoders: Vec<PartEncoder>,
    unet: Option<Arc<UNet>>,
    controls: Vec<Control>,
    /// Those that were read.
    control_nets: Vec<(Arc<ControlFile>, Arc<ControlNet>)>,
    decoder: Option<Decoder>,
    /// Decodes in place of the VAE.
    taesd: Option<Arc<TaesdFile>>,
    refiner: Option<Refiner>,
}

impl Pipeline {
    /// Recognises a checkpoint, and checks that every tensor is there in its shape. No weight is read yet.
    ///
    /// # Errors
    /// A checkpoint that is not supported or not whole.
    pub fn open(checkpoint: Checkpoint) -> Result<Pipeline, Error> {
        let model = Model::detect(&Arc::new(checkpoint))?;
        model.check_complete()?;
        Ok(Pipeline {
            model,
            device: Device::Cpu,
            vae_tiling: VaeTiling::default(),
            merge: None,
            words: LearnedEmbeddings::default(),
            text_encoders: Vec::new(),
            unet: None,
            controls: Vec::new(),
            control_nets: Vec::new(),
            decoder: None,
            taesd: None,
            refiner: None,
        })
    }

    /// As [`Pipeline::open`], for a model whose parts come from several checkpoints.
    ///
    /// # Errors
    /// As [`Pipeline::open`], and a part of another kind of model.
    ///
    /// ```no_run
    /// # use latent_diffusion::{Pipeline, families::Sources, loader::Checkpoint};
    /// # use std::path::Path;
    /// let open = |file: &str| Checkpoint::open(Path::new(file));
    /// let (model, vae) = (Some(open("v1-5-pruned.safetensors")?), Some(open("vae-ft-mse.safetensors")?));
    /// let pipeline = Pipeline::open_parts(Sources { model, vae, ..Sources::default() })?;
    /// # Ok::<(), latent_diffusion::Error>(())
    /// ```
    pub fn open_parts(sources: Sources) -> Result<Pipeline, Error> {
        Pipeline::open(sources.join()?.checkpoint)
    }

    /// With so much memory.
    #[must_use]
    pub fn with_vae_tiling(mut self, vae_tiling: VaeTiling) -> Pipeline {
        self.vae_tiling = vae_tiling;
        self
    }

    /// With a UNet that predicts this, whatever the checkpoint seems to be.
    #[must_use]
    pub fn with_prediction(mut self, prediction: Prediction) -> Pipeline {
        self.model.prediction = prediction;
        self
    }

    /// With a noise schedule that ends in pure noise (zero terminal signal-to-noise ratio) or not, whatever the checkpoint
    /// seems to be. Only a model that was trained so can begin there, and only one that predicts the velocity.
    #[must_use]
    pub fn with_zero_terminal_snr(mut self, is_zero: bool) -> Pipeline {
        let usual = Training::scaled_linear();
        self.model.training =
            if is_zero { usual.rescale_zero_terminal_snr(ZERO_SNR_DIFFUSERS) } else { usual };
        self
    }

    /// Draws on another device from now on. Parts that were read are dropped; they are read again when they are needed.
    /// After an error of a GPU this starts afresh, on the CPU or on the GPU opened anew.
    pub fn set_device(&mut self, device: Device) {
        self.unload();
        if let Some(refiner) = &mut self.refiner {
            refiner.pipeline.set_device(device.clone());
        }
        self.device = device;
    }

    /// Drops all parts and their memory.
    pub fn unload(&mut self) {
        self.text_encoders.clear();
        (self.unet, self.decoder) = (None, None);
        self.control_nets.clear();
        if let Some(refiner) = &mut self.refiner {
            refiner.pipeline.unload();
        }
        self.device.trim();
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

    /// Draws an image for each seed of `settings`, all in one batch. An image's bytes are those of its seed drawn
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

    /// Does a task for each seed of `settings`, whose size must be that of [`Task::sized`]; the images are of the size of
    /// the task's. Outside of a mask they are the given image, byte for byte.
    ///
    /// # Errors
    /// As [`Pipeline::text_to_image`], and a task that the model cannot do.
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
    /// let settings = task.sized(Settings::default(), pipeline.model());
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
        task.check(settings, &self.model)?;
        self.check_controls(settings)?;
        let negative: &[&str] = if negative_prompt.is_empty() { &[] } else { &[negative_prompt] };
        let conditioning = self.encode(&[prompt], negative, settings, listener)?;
        self.unload_text_encoder();
        let source = self.prepare(task, settings, listener)?;
        let latents = self.sample_prepared(&source, &conditioning, settings, listener)?;
        self.unload_unet();
        let images = self.decode(&latents, listener)?;
        self.unload_decoder();
        source.finish(images)
    }
}
