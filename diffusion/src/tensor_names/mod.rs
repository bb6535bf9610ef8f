//! Names of tensors: those of every kind of file, in terms of the canonical ones.
//!
//! Canonical names are those of diffusers, with a scope for each part of a model: `unet.`, `controlnet.`, `vae.`,
//! `text_encoder.`, `text_encoder_2.` [`prefixes`] says which part a tensor belongs to; one file for each origin maps the
//! rest of the name: [`ldm`] (original single files), [`open_clip`], [`text_encoder`] (all origins of text encoders),
//! [`diffusers`], [`controlnet`], [`clip_vision`], [`t2i_adapter`], [`esrgan`], [`taesd`], [`t5`] and [`qwen3`]; [`transformer`] with
//! a file for each network.

pub(crate) mod clip_vision;
pub(crate) mod controlnet;
pub(crate) mod diffusers;
pub(crate) mod esrgan;
mod flux;
mod flux2;
pub(crate) mod ldm;
pub(crate) mod lora_layers;
pub(crate) mod network_names;
pub(crate) mod open_clip;
pub(crate) mod prefixes;
pub(crate) mod qwen3;
mod sd3;
pub(crate) mod t2i_adapter;
pub(crate) mod t5;
pub(crate) mod taesd;
#[cfg(test)]
mod tests;
pub(crate) mod text_encoder;
pub(crate) mod transformer;
pub(crate) mod upscalers;
mod z_image;
