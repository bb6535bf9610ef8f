#![forbid(unsafe_code)]
//! Latent as a library for programs: what lies between [`latent_diffusion`] and a command line, a server or an editor.
//!
//! Nothing here prints, exits, reads the process's arguments or installs signal handlers.
//!
//! A [`Job`] is what is to be drawn, as plain data. A [`Session`] runs jobs and keeps the model open between them; what it
//! does are [`JobEvent`]s, which are owned and can be sent to other threads, and a [`CancelToken`] cancels it from any thread.
//!
//! ```
//! use latent_app::{CancelToken, Job, JobEvent, Session};
//! use std::ops::ControlFlow;
//!
//! let mut job = Job::txt2img("a red apple");
//! job.sampling.steps = Some(2);
//! job.sampling.seed = Some(7);
//! let (mut session, mut steps, mut images) = (Session::new(), 0, Vec::new());
//! session.run(&job, &CancelToken::new(), &mut |event| {
//!     match event {
//!         JobEvent::Step { step, .. } => steps = step,
//!         JobEvent::Image(drawn) => images.push(drawn),
//!         _ => {}
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!((steps, images.len(), images[0].image.width), (2, 1, 256));
//! // The texts of its file hold all that is needed to draw it again.
//! assert!(images[0].texts[0].1.starts_with("a red apple\nSteps: 2"));
//! # Ok::<(), latent_app::AppError>(())
//! ```

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

pub mod addons;
pub mod atomic_output;
pub mod bench;
pub mod contact_sheet;
pub mod convert;
pub mod device;
pub mod doctor;
mod error;
pub mod grid;
pub mod hash;
pub mod image_file;
mod input_file;
pub mod inspect;
pub mod job;
pub mod memory;
pub mod metadata;
pub mod model_file;
pub mod models;
pub mod output;
mod prompts;
pub mod replay;
pub mod samplers;
pub mod session;
pub mod text;
pub mod threads;
pub mod tokens;
pub mod upscale;

pub use error::{AppError, Remedy};
pub use job::Job;
pub use session::{CancelToken, JobEvent, JobImage, Session};
