//! IP-Adapter: an image as a prompt (Ye et al., IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion
//! Models, 2023).
//!
//! A CLIP vision encoder ([`image_encoder`](crate::image_encoder)) looks at the image, [`IpAdapter`] makes a few tokens of
//! what it sees, and each cross-attention of the UNet attends to these beside the text, by keys and values of the adapter's
//! own (section 3.2.2, decoupled cross-attention). [`IpAdapterFile`] is a file of one.
//! [`Pipeline::set_image_prompts`](crate::Pipeline::set_image_prompts) draws with them.

mod config;
mod file;
mod projection;
mod resampler;

pub use config::{ImageProjectionConfig, IpAdapterConfig};
pub use file::IpAdapterFile;

use crate::image_encoder::EncodedImage;
use crate::{Error, params::Params};
use latent_tensor::{Device, Linear, Tensor, ops};
use projection::ImageProjection;
use std::fmt;

/// A loaded IP-Adapter.
pub struct IpAdapter {
    image_proj: ImageProjection,
    /// `to_k_ip` and `to_v_ip` of each cross-attention, in the order of the file.
    layers: Vec<[Linear; 2]>,
    device: Device,
}

impl fmt::Debug for IpAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpAdapter").field("cross_attentions", &self.layers.len()).finish_non_exhaustive()
    }
}

impl IpAdapter {
    /// Loads an IP-Adapter from tensors named as its authors name them.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &IpAdapterConfig) -> Result<IpAdapter, Error> {
        let context = config.cross_attention_dim;
        let layer = |(number, width): &(usize, usize)| {
            let layer = params.scope("ip_adapter").scope(number);
            Ok([
                layer.linear_without_bias("to_k_ip", *width, context)?,
                layer.linear_without_bias("to_v_ip", *width, context)?,
            ])
        };
        // What is done once for an image is done in main memory.
        let image_proj = params.exact().on(&Device::Cpu).scope("image_proj");
        Ok(IpAdapter {
            image_proj: ImageProjection::load(&image_proj, config)?,
            layers: config.layers.iter().map(layer).collect::<Result<_, Error>>()?,
            device: params.device().clone(),
        })
    }

    /// The tokens of images, `[images, tokens, cross_attention_dim]`, in main memory.
    ///
    /// # Errors
    /// What an encoder of another size made.
    pub fn tokens(&self, image: &EncodedImage) -> Result<Tensor, Error> {
        self.image_proj.forward(image)
    }

    /// Keys and values of tokens for each cross-attention, in the order of the file
    /// ([`UNet::add_image_prompt`](crate::unet::UNet::add_image_prompt)).
    ///
    /// # Errors
    /// Tokens of another width.
    pub fn keys_values(&self, tokens: &Tensor) -> Result<Vec<[Tensor; 2]>, Error> {
        let tokens = tokens.to(&self.device)?;
        let layer = |[to_k, to_v]: &[Linear; 2]| Ok(ops::linear_many(&tokens, [to_k, to_v])?);
        self.layers.iter().map(layer).collect()
    }
}
