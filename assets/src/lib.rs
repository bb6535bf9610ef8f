#![forbid(unsafe_code)]
//! The demo model, a Stable Diffusion 1.x of 20 million values that draws emoji-like images of 64x64 pixels, and an upscaler that
//! makes them crisp.
//!
//! It is a crate of its own so that its 41 MB are compiled once. `MODEL_CARD.md` describes the model, `prompts.txt` lists
//! what it can draw.

/// The model as a safetensors file, or `None` where this crate was built without it.
///
/// The file is in a checkout of the repository. It is too large for a registry, so a package from there is without it.
#[cfg(has_model)]
pub static DEMO: Option<&[u8]> = Some(include_bytes!("../demo.safetensors"));

/// The model as a safetensors file, or `None` where this crate was built without it.
#[cfg(not(has_model))]
pub static DEMO: Option<&[u8]> = None;

/// Real-ESRGAN's `realesr-animevideov3` as a safetensors file: an upscaler that makes images four times as wide and high. It is
/// under the BSD licence of `LICENSE-Real-ESRGAN`.
pub static UPSCALER: &[u8] = include_bytes!("../realesr-animevideov3.safetensors");
