//! From text to images: text encoders, a sampler around the denoising network, VAE.
//!
//! | file | what is in it |
//! |---|---|
//! | `run.rs` | the order of the stages: [`Pipeline::run`], [`Pipeline::draw`]; what happens when a GPU fails |
//! | `request.rs` | [`Request`]: a run in a thread of its own |
//! | `task.rs`, `settings.rs`, `hires.rs` | what can be asked for |
//! | `encode.rs`, `conditioning.rs`, `encoded_text.rs` | the first stage: prompts |
//! | `prepare.rs` | the second stage: images of the task |
//! | `sample.rs`, `start.rs`, `variation.rs`, `guided_denoiser.rs`, `guidance.rs`, `control.rs`, `image_prompt.rs`, `refine.rs`, `step_state.rs` | the third stage: sampling |
//! | `decode.rs` | the last stage: images |
//! | `memory_estimate.rs`, `streaming.rs` | the memory that the stages take, and weights that there is no room for |

mod conditioning;
mod control;
mod decode;
mod encode;
mod encoded_text;
#[cfg(test)]
mod flow_tests;
mod guidance;
mod guided_denoiser;
mod hires;
mod image_prompt;
mod memory_estimate;
mod prepare;
mod refine;
mod request;
mod run;
#[cfg(test)]
mod run_tests;
mod sample;
mod seamless;
mod settings;
mod start;
mod step_state;
mod streaming;
mod task;
mod variation;

pub use conditioning::{Conditioning, StepConditioning};
pub use control::Control;
pub use hires::{Hires, HiresUpscaler, UpscaleImage};
pub use image_prompt::ImagePrompt;
pub use memory_estimate::MemoryEstimate;
pub use prepare::PreparedTask;
pub use request::{Drawing, DrawnStep, Request};
pub use run::{RunImage, RunPlan};
pub use seamless::Seamless;
pub use settings::{AestheticScores, Settings, SettingsOverrides, SizeConditioning};
pub use task::{Fill, OwnedTask, Task};

use crate::controlnet::ControlFile;
use crate::embeddings::{LearnedEmbeddings, TextualInversion};
use crate::families::{Distillation, Model, Sources};
use crate::lora::{Applied, Lora, Merge, Strength};
use crate::network::DiffusionNetwork;
use crate::params::Params;
use crate::schedule::{Prediction, Training, ZERO_SNR_DIFFUSERS};
use crate::stage::LoadedNetwork;
use crate::taesd::TaesdFile;
use crate::{Error, Listener, loading};
use control::LoadedControl;
use decode::LatentDecoder;
use encoded_text::TextEncoders;
use image_prompt::ImagePrompts;
use latent_loader::{Checkpoint, Weights};
use latent_tensor::{Device, Precision};
use refine::Refiner;
use std::fmt;
use std::sync::Arc;

/// How a VAE runs. Images are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VaeTiling {
    /// A whole image at once: the fastest way.
    #[default]
    Off,
    /// An image in bands of rows, which takes less memory and longer.
    Bands,
}

/// A model that draws. Its parts are loaded when they are first needed.
///
/// There are three ways to draw, from the simplest to the most detailed:
///
/// - A [`Request`] is plain data: what to draw, with settings that differ from the model's own. [`Request::start`] draws in
///   a thread of its own; a user interface looks at its steps, and cancels it.
/// - [`Pipeline::draw`], [`Pipeline::text_to_image`] and [`Pipeline::text_to_image_hires`] draw one batch in the calling thread
///   and report to a listener. [`Pipeline::run`] is what they are made of: it draws any number of images in batches, each
///   with its own prompt where that is wanted, and continues on another device where a GPU fails.
/// - The stages by themselves, for a program that keeps what lies between them: [`Pipeline::encode`] makes a
///   [`Conditioning`] of prompts, [`Pipeline::prepare`] a [`PreparedTask`] of images, [`Pipeline::sample_prepared`] latents of
///   both, and [`Pipeline::decode`] images of latents, which [`PreparedTask::finish`] cuts to their size. A conditioning and a
///   prepared task can be used many times. `unload_…` drops the network of a stage.
///
/// What it draws with is set before: [`Pipeline::set_device`], [`Pipeline::set_loras`], [`Pipeline::set_embeddings`],
/// [`Pipeline::set_controls`], [`Pipeline::set_image_prompts`], [`Pipeline::set_refiner`], [`Pipeline::set_taesd`],
/// [`Pipeline::set_seamless`], [`Pipeline::with_vae_tiling`],
/// [`Pipeline::with_prediction`], [`Pipeline::with_zero_terminal_snr`], [`Pipeline::set_threads`]. It stays until it is set
/// again.
///
/// The same seed gives the same image, byte for byte, with any number of threads and alone or in a batch.
pub struct Pipeline {
    model: Model,
    device: Device,
    precision: Precision,
    vae_tiling: VaeTiling,
    /// Whether blocks of large networks are read when it is their turn.
    streams_weights: bool,
    seamless: Seamless,
    threads: Option<usize>,
    merge: Option<Arc<Merge>>,
    /// What the model itself was distilled to, and for how many steps; a LoRA may change that.
    own_distillation: (Option<Distillation>, Option<usize>),
    words: LearnedEmbeddings,
    /// Empty, or all.
    text_encoders: TextEncoders,
    network: Option<Arc<dyn DiffusionNetwork>>,
    controls: Vec<Control>,
    /// Those that are in memory.
    control_nets: Vec<(Arc<ControlFile>, LoadedControl)>,
    image_prompts: ImagePrompts,
    decoder: Option<LatentDecoder>,
    /// Decodes in place of the VAE.
    taesd: Option<Arc<TaesdFile>>,
    refiner: Option<Refiner>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("model", &self.model.weights.label())
            .field("family", &self.model.family.label)
            .field("device", &self.device)
            .field("precision", &self.precision)
            .field("vae_tiling", &self.vae_tiling)
            .field("seamless", &self.seamless)
            .field("controls", &self.controls)
            .field("image_prompts", &self.image_prompts)
            .field("refiner", &self.refiner.as_ref().map(|refiner| &refiner.pipeline))
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Recognises a checkpoint, and checks that it has every tensor in its shape. No weight is read yet.
    ///
    /// # Errors
    /// A checkpoint that is not supported or not complete.
    pub fn open(checkpoint: Checkpoint) -> Result<Pipeline, Error> {
        let model = Model::detect(&Arc::new(checkpoint))?;
        model.check_complete()?;
        let own_distillation = (model.distillation, model.named_steps);
        let taesd = model.has_tiny_vae.then(|| TaesdFile::of_model(&model).map(Arc::new)).transpose()?;
        Ok(Pipeline {
            model,
            own_distillation,
            device: Device::Cpu,
            precision: Precision::F32,
            vae_tiling: VaeTiling::default(),
            seamless: Seamless::default(),
            threads: None,
            merge: None,
            words: LearnedEmbeddings::default(),
            text_encoders: TextEncoders::default(),
            streams_weights: false,
            network: None,
            controls: Vec::new(),
            control_nets: Vec::new(),
            image_prompts: ImagePrompts::default(),
            decoder: None,
            taesd,
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

    /// This pipeline with another way to run the VAE.
    #[must_use]
    pub fn with_vae_tiling(mut self, vae_tiling: VaeTiling) -> Pipeline {
        self.vae_tiling = vae_tiling;
        self
    }

    /// This pipeline with transformers, large text encoders, and on a GPU UNets, that are read block by block whenever they compute, so
    /// that memory contains one block of them and not all. The bytes of images stay the same. Without this, that is done where they exceed the
    /// memory of a GPU, or the part of it that may be used. Files should be opened by mapping
    /// ([`Access::Map`](latent_loader::Access::Map)), so that the system keeps what it has room for.
    #[must_use]
    pub fn with_streamed_weights(mut self, is_streamed: bool) -> Pipeline {
        self.unload();
        self.streams_weights = is_streamed;
        self
    }

    /// This pipeline with a network that predicts this, whatever was detected in the checkpoint.
    #[must_use]
    pub fn with_prediction(mut self, prediction: Prediction) -> Pipeline {
        self.model.prediction = prediction;
        self
    }

    /// This pipeline with a noise schedule that ends in pure noise (zero terminal signal-to-noise ratio) or not, whatever
    /// was detected in the checkpoint. Only a model that was trained so can begin there, and only one that predicts the
    /// velocity.
    #[must_use]
    pub fn with_zero_terminal_snr(mut self, is_zero: bool) -> Pipeline {
        let usual = Training::scaled_linear();
        self.model.training =
            if is_zero { usual.rescale_zero_terminal_snr(ZERO_SNR_DIFFUSERS) } else { usual };
        self
    }

    /// Draws on another device from now on. Networks that were loaded are dropped; they are loaded again when they are needed.
    /// After an error of a GPU this makes a new start, on the CPU or on the GPU opened again.
    pub fn set_device(&mut self, device: Device) {
        self.unload();
        if let Some(refiner) = &mut self.refiner {
            refiner.pipeline.set_device(device.clone());
        }
        device.prepare(self.model.family.id);
        self.device = device;
    }

    /// Another pipeline of the same model with all that was set for this one, to draw on another device at the same time. It shares
    /// the files and has networks of its own, of which none is loaded yet.
    #[must_use]
    pub fn beside(&self, device: Device) -> Pipeline {
        let refiner = self.refiner.as_ref().map(|refiner| refiner.beside(device.clone()));
        device.prepare(self.model.family.id);
        Pipeline {
            model: self.model.clone(),
            device,
            precision: self.precision,
            vae_tiling: self.vae_tiling,
            streams_weights: self.streams_weights,
            seamless: self.seamless,
            threads: self.threads,
            merge: self.merge.clone(),
            own_distillation: self.own_distillation,
            words: self.words.clone(),
            text_encoders: TextEncoders::default(),
            network: None,
            controls: self.controls.clone(),
            control_nets: Vec::new(),
            image_prompts: self.image_prompts.unseen(),
            decoder: None,
            taesd: self.taesd.clone(),
            refiner,
        }
    }

    /// Multiplies in this precision on the CPU from now on; a GPU computes in its own. Networks that were loaded are dropped, as by
    /// [`Pipeline::set_device`]. Text encoders and upscalers stay in `f32`, and of every other network the layers that everything
    /// else follows from: the first, the last, and those of the timestep.
    pub fn set_precision(&mut self, precision: Precision) {
        self.unload();
        if let Some(refiner) = &mut self.refiner {
            refiner.pipeline.set_precision(precision);
        }
        self.precision = precision;
    }

    /// The number of threads that [`Request::start`] draws with; 0 is one for each core. Without it, the number is that of the
    /// caller of `start`. All other methods run in the caller's thread, with as many threads as
    /// [`with_threads`](crate::with_threads) gives it.
    pub fn set_threads(&mut self, threads: usize) {
        self.threads = Some(threads);
    }

    /// Draws with these LoRAs and weights from now on, and with no others; returns how much of each fits. Networks that were
    /// loaded are dropped; without LoRAs they are again as they were. A LoRA for few steps makes the model one for few steps
    /// ([`Model::recommended`]).
    ///
    /// # Errors
    /// [`Error::Lora`]: one that does not fit the model. Then nothing has changed.
    pub fn set_loras<S: Copy + Into<Strength>>(
        &mut self,
        loras: &[(Arc<Lora>, S)],
    ) -> Result<Vec<Applied>, Error> {
        let (merge, applied) = Merge::new(loras, &self.model.weights, self.model.family.label)?;
        self.unload();
        self.merge = (!loras.is_empty()).then(|| Arc::new(merge));
        let of_loras = loras.iter().filter(|(_, strength)| Into::<Strength>::into(*strength).unet != 0.0);
        let distilled = of_loras.filter_map(|(lora, _)| lora.distillation()).last();
        let distilled = distilled.map_or(self.own_distillation, |(kind, steps)| (Some(kind), steps));
        (self.model.distillation, self.model.named_steps) = distilled;
        Ok(applied)
    }

    /// Understands these learned embeddings in prompts from now on, and no others. The text encoders are dropped.
    ///
    /// # Errors
    /// [`Error::Embedding`]: one that is for another kind of model. Then nothing has changed.
    pub fn set_embeddings(&mut self, embeddings: &[Arc<TextualInversion>]) -> Result<(), Error> {
        self.words = LearnedEmbeddings::new(embeddings, &self.model.text, self.model.family.label)?;
        self.unload_text_encoder();
        Ok(())
    }

    /// Drops all networks and their memory.
    pub fn unload(&mut self) {
        self.text_encoders = TextEncoders::default();
        (self.network, self.decoder) = (None, None);
        self.control_nets.clear();
        self.image_prompts.unload();
        if let Some(refiner) = &mut self.refiner {
            refiner.pipeline.unload();
        }
        self.device.trim();
    }

    /// What it multiplies in where it draws on the CPU.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
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

    /// Loads a network of the model to a device, with its LoRAs, and reports to the listener.
    fn load_network<T>(
        &self,
        (network, weights): (LoadedNetwork, Weights),
        device: &Device,
        load: impl FnOnce(&Params<'_>) -> Result<T, Error>,
        listener: &mut Listener<'_>,
    ) -> Result<T, Error> {
        let streams = self.streams(&weights, device);
        let load = |params: &Params<'_>| load(&params.wrapping(self.wraps()).streaming_blocks(streams));
        loading::load(network, weights, (device, self.precision), self.merge.clone(), load, listener)
    }
}
