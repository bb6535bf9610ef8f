//! Diffusion transformers: networks that see a latent image as a sequence of tokens (Peebles and Xie, Scalable Diffusion Models
//! with Transformers, 2022).
//!
//! [`TransformerFile`] tells from names and shapes which network a file holds. All of them are a [`DiffusionTransformer`]: what
//! does not depend on the step is computed once ([`DiffusionTransformer::condition`]), then [`DiffusionTransformer::forward`]
//! predicts the velocity `noise - image` from the noisy latents and 1000 times their noise level.

mod condition;
mod file;
mod flux;
mod flux2;
mod inputs;
mod interface;
mod kit;
mod sd3;
mod sizes;
mod z_image;

pub use condition::TransformerCondition;
pub use file::{TransformerConfig, TransformerFile};
pub use flux::{Approximator, Flux, FluxConditioning, FluxConfig};
pub use flux2::{Flux2, Flux2Config};
pub use interface::{DiffusionTransformer, TransformerInputs};
pub use sd3::{Sd3, Sd3Config};
pub use z_image::{ZImage, ZImageConfig};
