#![forbid(unsafe_code)]
//! Stable Diffusion: from a checkpoint and a prompt to images.
//!
//! [`Pipeline`] does the whole way; its parts stand alone: the [`tokenizer`], the [`prompt`] syntax, the [`text`]
//! encoder, the [`unet`], the [`vae`], the random generators ([`rng`]), noise [`schedule`]s and [`samplers`].
//! [`families`] detects what a checkpoint is, and [`network`] is the seam between a pipeline and the network that it samples
//! with.
//!
//! ```
//! use latent_diffusion::rng::RngKind;
//! use latent_diffusion::samplers;
//! use latent_diffusion::schedule::{Convention, NoiseModel, Schedule, ScheduleKind};
//! use latent_diffusion::tokenizer::Tokenizer;
//!
//! let ids = Tokenizer::clip().encode("a photo of a cat");
//! assert_eq!(ids, [320, 1125, 539, 320, 2368]);
//!
//! let (sampler, _) = samplers::parse("DPM++ 2M")?;
//! let (model, convention) = (NoiseModel::scaled_linear(), Convention::KDiffusion);
//! let schedule = Schedule::new(&model, convention, ScheduleKind::Karras, sampler.discretization(), 20)?;
//! let mut noise = [0.0; 4 * 64 * 64];
//! RngKind::Cuda.generator(42).normal(&mut noise);
//! schedule.scale_noise(&mut noise);
//! assert_eq!(schedule.steps(), 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blocks;
pub mod controlnet;
pub mod convert;
pub mod embeddings;
mod error;
mod event;
pub mod families;
mod image;
pub mod image_encoder;
pub mod ip_adapter;
mod latents;
mod loading;
pub mod lora;
mod mask;
pub mod names;
pub mod network;
pub mod params;
mod pipeline;
mod preview;
pub mod prompt;
mod resnet;
pub mod rng;
pub mod samplers;
pub mod schedule;
mod setting;
mod stage;
pub mod taesd;
mod tensor_names;
pub mod text;
pub mod tokenizer;
pub mod transformer;
pub mod unet;
pub mod upscaler;
pub mod vae;

pub use blocks::BlockCount;
pub use error::Error;
pub use event::{CancelHandle, Event, Listener, OwnedEvent};
pub use families::{ComponentCheck, MissingTensors};
pub use image::{Image, MAX_SIDE, Margins};
pub use latent_kernels::parallel::with_threads;
pub use latent_loader as loader;
pub use latent_tensor as tensor;
pub use latents::{LatentShape, Latents};
pub use mask::Mask;
pub use pipeline::{
    AestheticScores, Conditioning, Control, Drawing, DrawnStep, Fill, Hires, HiresUpscaler, ImagePrompt,
    MemoryEstimate, OwnedTask, Pipeline, PreparedTask, Request, RunImage, RunPlan, Seamless, Settings,
    SettingsOverrides, SizeConditioning, StepConditioning, Task, UpscaleImage, VaeTiling,
};
pub use preview::LatentRgb;
pub use setting::{Bounds, Setting, SettingProblem};
pub use stage::{LoadedNetwork, Stage};

/// The example of the crate's README is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
