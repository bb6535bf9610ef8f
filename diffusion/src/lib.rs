#![forbid(unsafe_code)]
//! Stable Diffusion: from a checkpoint and words to images.
//!
//! [`Pipeline`] does the whole way; its parts stand alone: the [`tokenizer`], the [`prompt`] syntax, the [`text`]
//! encoder, the [`unet`], the [`vae`], the random generators ([`rng`]), noise [`schedule`]s and [`samplers`].
//! [`families`] finds out what a checkpoint is.
//!
//! ```
//! use latent_diffusion::rng::RngKind;
//! use latent_diffusion::samplers;
//! use latent_diffusion::schedule::{Convention, ScheduleKind, Schedule, Training};
//! use latent_diffusion::tokenizer::Tokenizer;
//!
//! let ids = Tokenizer::clip().encode("a photo of a cat");
//! assert_eq!(ids, [320, 1125, 539, 320, 2368]);
//!
//! let (sampler, _) = samplers::parse("DPM++ 2M")?;
//! let schedule = Schedule::new(&Training::scaled_linear(), Convention::KDiffusion, ScheduleKind::Karras, sampler.grid(), 20)?;
//! let mut noise = [0.0; 4 * 64 * 64];
//! RngKind::Cuda.generator(42).normal(&mut noise);
//! schedule.scale_noise(&mut noise);
//! assert_eq!(schedule.steps(), 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod controlnet;
pub mod convert;
pub mod embeddings;
mod error;
pub mod families;
pub mod lora;
pub mod names;
pub mod params;
mod pipeline;
mod preview;
pub mod prompt;
mod resnet;
pub mod rng;
pub mod samplers;
pub mod schedule;
pub mod taesd;
mod tensor_names;
pub mod text;
pub mod tokenizer;
pub mod unet;
pub mod upscaler;
pub mod vae;

pub use error::Error;
pub use families::{ComponentCheck, MissingTensors};
pub use latent_loader as loader;
pub use latent_tensor as tensor;
pub use pipeline::{
    AestheticScores, Conditioning, Control, Drawing, DrawnStep, Event, Fill, Hires, HiresUpscaler, Image,
    Latents, Listener, MAX_SIDE, Margins, Mask, MemoryEstimate, Pipeline, PreparedTask, Request, Settings,
    SizeConditioning, StepConditioning, Task, UpscaleImage, VaeTiling,
};
pub use preview::LatentRgb;

/// The example of the crate's README is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
