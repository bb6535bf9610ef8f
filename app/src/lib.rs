#![forbid(unsafe_code)]
//! Latent as a library for programs: what lies between [`latent_diffusion`] and a command line, a server or an editor.
//!
//! Nothing here prints, exits, reads the process's arguments or installs signal handlers.

pub mod atomic_output;
pub mod contact_sheet;
mod error;
pub mod hash;
pub mod image_file;
pub mod metadata;
pub mod models;
pub mod output;
pub mod text;

pub use error::AppError;
