//! TAESD, the tiny autoencoder (Ollin Boer Bohan, <https://github.com/madebyollin/taesd>; `AutoencoderTiny` of diffusers), with TAESD3
//! and TAEF1, its like for latents of 16 channels:
//! a stack of 3x3 convolutions trained to do what the VAE does. It is some twenty times as fast and a little less exact: for
//! previews, and for images in a hurry.
//!
//! Its latents are those of the sampling, without a scaling factor.

mod block;
mod decoder;
mod encoder;
mod file;

pub use decoder::TaesdDecoder;
pub use encoder::TaesdEncoder;
pub use file::{TaesdConfig, TaesdFile};

/// Blocks of each level of the decoder, coarsest first. The encoder has as many, finest first.
const BLOCKS: [usize; 4] = [3, 3, 3, 1];
/// Channels of an image.
const RGB: usize = 3;

/// Pixels of an image on each side of an element of a latent.
pub const FACTOR: usize = 1 << (BLOCKS.len() - 1);
