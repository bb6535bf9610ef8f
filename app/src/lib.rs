#![forbid(unsafe_code)]
//! Latent as a library for programs: what lies between [`latent_diffusion`] and a command line, a server or an editor.
//!
//! Nothing here prints, exits, reads the process's arguments or installs signal handlers.

pub mod addons;
pub mod atomic_output;
pub mod contact_sheet;
pub mod device;
mod error;
pub mod grid;
pub mod hash;
pub mod image_file;
pub mod job;
pub mod memory;
pub mod metadata;
pub mod model_file;
pub mod models;
pub mod output;
mod prompts;
pub mod replay;
pub mod session;
pub mod text;
pub mod threads;
pub mod upscale;

pub use error::{AppError, Remedy};
pub use job::Job;
pub use session::{CancelToken, JobEvent, JobImage, Session};
