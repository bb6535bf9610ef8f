//! ESRGAN: a network that enlarges images (Wang et al., ESRGAN, 2018; Wang et al., Real-ESRGAN, 2021).
//!
//! The network consists of a trunk of residual blocks, which works on the pixels of the small image, and a head, which enlarges
//! the features of the trunk. A large image is cut into tiles ([`Tiling`]): the trunk sees each with the pixels around it, the
//! head works on a few rows at a time. So the memory does not grow with the image.
//!
//! ```no_run
//! use latent_diffusion::upscaler::{Tiling, UpscalerFile};
//! use latent_diffusion::{Image, loader::Checkpoint, tensor::Device};
//! use std::{ops::ControlFlow, path::Path};
//!
//! # let photo = Image { width: 500, height: 300, rgb: vec![0; 500 * 300 * 3] };
//! let file = UpscalerFile::open(Checkpoint::open(Path::new("RealESRGAN_x4plus.safetensors"))?)?;
//! let mut go_on = |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
//! let large = file.upscale(&photo, &Device::Cpu, Tiling::default(), &mut go_on)?;
//! assert_eq!((large.width, large.height), (2000, 1200));
//! # Ok::<(), latent_diffusion::Error>(())
//! ```

mod config;
mod file;
mod head;
mod rrdb;
#[cfg(test)]
mod tests;
mod tiles;
mod unshuffle;

pub use config::UpscalerConfig;
pub use file::UpscalerFile;
pub use tiles::Tiling;

use crate::blocks::BlockCount;
use crate::event::notify;
use crate::params::Params;
use crate::{Error, Event, Image, Listener, Stage};
use head::UpscalerHead;
use latent_tensor::{Conv2d, Device, Epilogue, Prologue, Tensor, ops};
use rrdb::Rrdb;

/// Channels of an image.
const RGB: usize = 3;
/// Maximum pixels of an enlarged image: 16384x16384.
pub const MAX_PIXELS: usize = 1 << 28;

/// The generator of ESRGAN (`RRDBNet`).
pub struct Upscaler {
    device: Device,
    config: UpscalerConfig,
    conv_first: Conv2d,
    body: Vec<Rrdb>,
    conv_body: Conv2d,
    head: UpscalerHead,
}

impl Upscaler {
    /// Loads a network from tensors named as Real-ESRGAN names them.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &UpscalerConfig) -> Result<Upscaler, Error> {
        let UpscalerConfig { features, growth, blocks, .. } = *config;
        let body = params.scope("body");
        Ok(Upscaler {
            device: params.device().clone(),
            config: config.clone(),
            conv_first: params.conv3x3("conv_first", features, config.inputs())?,
            body: (0..blocks)
                .map(|i| Rrdb::load(&body.scope(i), features, growth))
                .collect::<Result<_, _>>()?,
            conv_body: params.conv3x3("conv_body", features, features)?,
            head: UpscalerHead::load(params, config)?,
        })
    }

    /// Its sizes.
    #[must_use]
    pub fn config(&self) -> &UpscalerConfig {
        &self.config
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Pixels `[1, height, width, 3]` of 0..1 to `[1, scale height, scale width, 3]`, all at once, in main memory. Sides are
    /// multiples of [`UpscalerConfig::unshuffle`].
    ///
    /// # Errors
    /// Pixels of another shape.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor, Error> {
        let x = unshuffle::unshuffle(pixels, self.config.unshuffle)?;
        Ok(self.head.forward(&self.trunk(&x, &mut BlockCount::unwatched())?)?.to(&Device::Cpu)?)
    }

    /// The layers before the image is enlarged: `[1, height, width, inputs]` to `[1, height, width, features]`.
    fn trunk(&self, x: &Tensor, count: &mut BlockCount<'_>) -> Result<Tensor, Error> {
        let first = ops::conv2d(&x.to(&self.device)?, &self.conv_first)?;
        let mut hidden = first.clone();
        for block in &self.body {
            hidden = block.forward(hidden)?;
            count.add()?;
        }
        let residual = Epilogue::residual(first);
        Ok(ops::conv2d_fused(&hidden, &self.conv_body, Prologue::none(), residual)?)
    }

    /// Enlarges an image by [`UpscalerConfig::scale`], tile by tile.
    ///
    /// # Errors
    /// An image without pixels or whose result has more than [`MAX_PIXELS`], a cancelled run, NaN in the result.
    pub fn upscale(
        &self,
        image: &Image,
        tiling: Tiling,
        listener: &mut Listener<'_>,
    ) -> Result<Image, Error> {
        let (width, height) = self.config.check(image)?;
        let unshuffle = self.config.unshuffle;
        let padded = image.padded_to(unshuffle);
        let values: Vec<f32> = padded.rgb.iter().map(|byte| f32::from(*byte) / 255.0).collect();
        let x = Tensor::from_f32(&[1, padded.height, padded.width, RGB], &values)?;
        let x = unshuffle::unshuffle(&x, unshuffle)?;
        let mut large = Image { width, height, rgb: vec![0; RGB * width * height] };
        let tiles = tiling.tiles(x.dims()[1], x.dims()[2]);
        let total = tiles.len();
        notify(listener, Event::Upscaled { tile: 0, total })?;
        for (i, tile) in tiles.iter().enumerate() {
            let mut count = BlockCount::new(Stage::Upscaling, self.body.len(), listener);
            let trunk = self.trunk(&tiles::cut(&x, &tile.seen)?, &mut count)?.to(&Device::Cpu)?;
            self.head.put(&trunk, tile, [x.dims()[1], x.dims()[2]], &mut large)?;
            notify(listener, Event::Upscaled { tile: i + 1, total })?;
        }
        Ok(large)
    }
}

impl std::fmt::Debug for Upscaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upscaler")
            .field("device", &self.device)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
