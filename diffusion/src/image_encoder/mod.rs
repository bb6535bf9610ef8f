//! The CLIP vision encoder (`CLIPVisionModelWithProjection`; Radford et al., Learning Transferable Visual Models From
//! Natural Language Supervision, 2021): what an IP-Adapter sees of an image.
//!
//! [`ImageEncoderFile`] is a file of one, [`ImageEncoder`] the network, [`EncodedImage`] its output. It runs on the CPU: one
//! image takes as much as a fraction of a step.

mod config;
mod file;
mod pixels;

pub use config::ImageEncoderConfig;
pub use file::ImageEncoderFile;
pub use pixels::PIXELS;

use crate::text::EncoderLayer;
use crate::{Error, Image, params::Params};
use latent_tensor::{Conv2d, LayerNorm, Linear, Padding, Tensor, ops};
use std::fmt;

/// A loaded CLIP vision encoder (a Vision Transformer; Dosovitskiy et al., An Image is Worth 16x16 Words, 2021).
pub struct ImageEncoder {
    class_embedding: Vec<f32>,
    patch_embedding: Conv2d,
    /// One for the class, then one for each patch.
    position_embedding: Vec<f32>,
    pre_layrnorm: LayerNorm,
    layers: Vec<EncoderLayer>,
    post_layernorm: LayerNorm,
    visual_projection: Linear,
    config: ImageEncoderConfig,
}

/// What an encoder makes of images.
#[derive(Clone, Debug)]
pub struct EncodedImage {
    /// The projected class token, `[images, projection]` (`image_embeds`).
    pub embedding: Tensor,
    /// Hidden states before the last layer, `[images, 1 + patches, width]` (`hidden_states[-2]`).
    pub penultimate: Tensor,
}

impl fmt::Debug for ImageEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageEncoder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl ImageEncoder {
    /// Loads an encoder from tensors named as transformers names them.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &ImageEncoderConfig) -> Result<ImageEncoder, Error> {
        let (width, patch) = (config.width, config.patch);
        let model = params.scope("vision_model");
        let embeddings = model.scope("embeddings");
        let layer = |i| {
            let layer = model.scope("encoder.layers").scope(i);
            EncoderLayer::load(&layer, &config.layer())
        };
        let table = [1 + config.patches(), width];
        let position = embeddings.embedding("position_embedding", table)?;
        let ids: Vec<u32> = (0..table[0] as u32).collect();
        Ok(ImageEncoder {
            class_embedding: embeddings.vector("class_embedding", width)?,
            patch_embedding: embeddings.conv_without_bias(
                "patch_embedding",
                [width, 3, patch],
                patch,
                Padding::all(0),
            )?,
            position_embedding: ops::embedding(&position, &ids)?.f32s()?.to_vec(),
            pre_layrnorm: model.layer_norm("pre_layrnorm", width)?,
            layers: (0..config.layers).map(layer).collect::<Result<_, _>>()?,
            post_layernorm: model.layer_norm("post_layernorm", width)?,
            visual_projection: params.projection("visual_projection", [config.projection, width])?,
            config: config.clone(),
        })
    }

    /// Encodes an image: its shorter side is brought to the encoder's size, and the middle is seen.
    ///
    /// # Errors
    /// Out of memory.
    pub fn encode(&self, image: &Image) -> Result<EncodedImage, Error> {
        self.encode_pixels(&pixels::normalized(image, self.config.side())?)
    }

    /// What the encoder makes of no image at all, zeros, as the authors of IP-Adapter use it beside a negative prompt.
    ///
    /// # Errors
    /// Out of memory.
    pub fn encode_nothing(&self) -> Result<EncodedImage, Error> {
        let side = self.config.side();
        self.encode_pixels(&Tensor::zeros(&[1, side, side, 3])?)
    }

    /// Encodes normalised pixels `[images, side, side, 3]`.
    ///
    /// # Errors
    /// Pixels of another size.
    pub fn encode_pixels(&self, pixels: &Tensor) -> Result<EncodedImage, Error> {
        let width = self.config.width;
        let patches = ops::conv2d(pixels, &self.patch_embedding)?;
        let images = patches.dims()[0];
        let tokens = 1 + self.config.patches();
        let mut states = Vec::with_capacity(images * tokens * width);
        for patches in patches.f32s()?.chunks_exact((tokens - 1) * width) {
            states.extend_from_slice(&self.class_embedding);
            states.extend_from_slice(patches);
        }
        for states in states.chunks_exact_mut(self.position_embedding.len()) {
            states.iter_mut().zip(&self.position_embedding).for_each(|(x, position)| *x += position);
        }
        let x = Tensor::from_f32(&[images, tokens, width], &states)?;
        let mut x = ops::layer_norm(&x, &self.pre_layrnorm)?;
        let mut penultimate = x.clone();
        for layer in &self.layers {
            penultimate = x.clone();
            x = layer.forward(x)?;
        }
        let class: Vec<f32> =
            x.f32s()?.chunks_exact(tokens * width).flat_map(|image| &image[..width]).copied().collect();
        let class = ops::layer_norm(&Tensor::from_f32(&[images, width], &class)?, &self.post_layernorm)?;
        Ok(EncodedImage { embedding: ops::linear(&class, &self.visual_projection)?, penultimate })
    }
}
