#![forbid(unsafe_code)]
//! Latent as a library for programs: what lies between [`latent_diffusion`] and a command line, a server or an editor.
//!
//! Nothing here prints, exits, reads the process's arguments or installs signal handlers.

pub mod atomic_output;
pub mod bench;
pub mod contact_sheet;
pub mod convert;
mod error;
pub mod fallback;
pub mod hash;
pub mod image_file;
mod input_file;
pub mod inspect;
pub mod metadata;
pub mod models;
pub mod output;
pub mod samplers;
pub mod text;
pub mod tokens;
pub mod upscale;

pub use error::AppError;
