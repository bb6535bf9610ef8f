//! From words to pictures: text encoder, sampler around the UNet, VAE.

mod conditioning;
mod decode;
mod denoiser;
mod encode;
mod event;
mod latents;
mod load;
mod loras;
mod picture;
mod sample;
mod settings;
mod sizes;

pub use conditioning::{Conditioning, Pooled};
pub use event::{Event, Listener};
pub use latents::Latents;
pub use picture::Picture;
pub use settings::{MAX_SIDE, Settings};
pub use sizes::PictureSizes;

use crate::Error;
use crate::families::Model;
use crate::lora::Merge;
use crate::samplers::Prediction;
use crate::text::PartEncoder;
use crate::unet::UNet;
use crate::vae::VaeDecoder;
use latent_loader::Checkpoint;
use latent_tensor::Device;
use std::sync::Arc;

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
        self.unload();
        self.device = device;
    }

    /// Drops all parts and their memory.
    pub fn unload(&mut self) {
        self.text_encoders.clear();
        (self.unet, self.decoder) = (None, None);
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
}
